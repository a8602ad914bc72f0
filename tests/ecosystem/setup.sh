# run inside when the state is made: the minimal machine has no C compiler
case $MACHINE in *-minimal) rm -f /usr/bin/cc /usr/bin/c89* /usr/bin/c99* /usr/bin/*gcc* /usr/bin/*clang* ;; esac
