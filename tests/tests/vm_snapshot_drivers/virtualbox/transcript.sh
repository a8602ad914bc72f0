# What is asked of the real VBoxManage and of its stand-in; both must answer with the same words. In a directory of its own.
run() {
    printf '$ VBoxManage %s\n' "$(echo "$*" | tr '\n' ' ')"
    VBoxManage "$@" >out 2>err
    printf 'status %s\n' $?
    # nothing but the kernel module is missing
    sed -e '/^WARNING: The character device/,/^.*until this problem is fixed\.$/d' -e 's/^/stdout: /' out
    sed 's/^/stderr: /' err
}
truncate -s 1M small.raw
run list vms
run showvminfo nosuch --machinereadable
run createvm --name racket --ostype Bogus --register
run createvm --name racket --ostype Debian_64 --register
run createvm --name racket --ostype Debian_64 --register
run list vms
run modifyvm racket --memory 1024 --cpus 2
run modifyvm racket --memory 0
run modifyvm racket --nic1 hostonly --hostonlyadapter1 vboxnet0
run modifyvm racket --nic2 nat
run createmedium disk --filename "$PWD/d.vdi" --size 64
run convertfromraw "$PWD/small.raw" "$PWD/e.vdi" --format VDI
run storagectl racket --name SATA --add sata --portcount 1
run storageattach racket --storagectl SATA --port 0 --device 0 --type hdd --medium "$PWD/nosuch.vdi"
run storageattach racket --storagectl SATA --port 0 --device 0 --type hdd --medium "$PWD/d.vdi"
run snapshot racket list --machinereadable
run showvminfo racket --machinereadable
run snapshot racket take init
run snapshot racket take in\"it --description 'a "b"
VMState="running"'
run snapshot racket take init --live
run snapshot racket restore nosuch
run snapshot racket delete nosuch
run snapshot nosuch list --machinereadable
run snapshot racket take installed --description 'taken by vm-snapshot'
run snapshot racket list --machinereadable
run snapshot racket restore init
run snapshot racket delete init
run snapshot racket take other
run snapshot racket list --machinereadable
run showvminfo racket --machinereadable
run snapshot racket edit other --name another
run snapshot racket delete another
run snapshot racket restorecurrent
run clonevm racket --options link --name m-1 --register
run clonevm racket --snapshot nosuch --options link --name m-1 --register
run clonevm nosuch --snapshot init --options link --name m-1 --register
run clonevm racket --snapshot init --options link --name m-1 --register
run clonevm racket --snapshot init --options link --name m-1 --register
run dhcpserver modify --network=HostInterfaceNetworking-vboxnet0 --vm=m-1 --nic=1 --fixed-address=192.168.56.121
run showvminfo m-1 --machinereadable
run dhcpserver modify --network=HostInterfaceNetworking-vboxnet0 --vm=m-1 --nic=1 --remove-config
run snapshot m-1 take base
run modifyvm m-1 --name layer-1
run clonevm layer-1 --snapshot base --options link --name m-1 --register
run list vms
run unregistervm m-1 --delete
run unregistervm layer-1 --delete
run unregistervm nosuch --delete
run setextradata racket a/b c
run getextradata racket a/b
run getextradata racket a/c
run startvm nosuch --type headless
run startvm racket --type headless
run controlvm racket poweroff
run controlvm racket setlinkstate2 off
run controlvm nosuch poweroff
run closemedium disk "$PWD/nosuch.vdi" --delete
run list runningvms
run unregistervm racket --delete
run list vms
