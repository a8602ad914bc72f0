# Inside the machine: sets it right when it begins to run, and runs commands, which arrive as they are over TCP. It is
# resident, and so in the memory of a snapshot: what opens from there has nothing to start. An image may have perl and no
# modules, hence none here; the numbers of system calls are those of x86-64.
#
# agent LINE PORT: the serial line that the host alone can write to, the port to listen at. It goes to the background once
# it listens.
my ($path, $port) = @ARGV;
$ENV{PATH} = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
chdir "/"; umask 022;
socket(L, 2, 1, 6) && setsockopt(L, 1, 2, 1) && bind(L, pack("S n x12", 2, $port)) && listen(L, 64) or exit 1;
open(T, "+<", $path) or exit 1;
# as they come: eight bits, no echo, no lines
ioctl(T, 0x5402, my $raw = pack("L4 C C19", 0, 0, 0x18b2, 0, 0, (0) x 6, 1, (0) x 12)) or exit 1;
exit 0 if fork;
syscall(112);
open(STDIN, "<", "/dev/null"); open(STDOUT, ">", "/dev/null"); open(STDERR, ">", "/dev/null");
$0 = "vm-snapshot-agent";
put("/proc/self/oom_score_adj", -1000);
$SIG{CHLD} = "IGNORE"; $SIG{HUP} = "IGNORE"; $SIG{PIPE} = "IGNORE";
my $group = group();
my ($said, $token, $limits, $reserved, $room) = ("", "", "", "", 0);
while (1) {
    my $ready = "";
    vec($ready, fileno($_), 1) = 1 for \*L, \*T;
    next if select($ready, undef, undef, undef) < 1;
    if (vec($ready, fileno(T), 1)) {
        sysread(T, $said, 4096, length $said) or exit 1;
        wake(split / /, $1) while $said =~ s/^([^\n]*)\n//;
    }
    if (vec($ready, fileno(L), 1) && accept(C, L)) {
        my $child = fork;
        if (defined $child && !$child) { close L; close T; serve(); exit 0 }
        close C;
    }
}

sub put { open(F, ">", $_[0]) && syswrite(F, $_[1]); close F }

# A control group for all commands, which counts and limits: those of root, who must get in when no process is left, in one of
# its two, the others in the other. Empty: the kernel has none of version 2.
sub group {
    my $root;
    if (open(my $mounts, "<", "/proc/mounts")) { for (<$mounts>) { $root = $1 if /^\S+ (\S+) cgroup2 / } }
    if (!$root) {
        mkdir $root = "/run/vm-snapshot-group";
        syscall(165, my $none = "none", $root, my $kind = "cgroup2", 0, 0) == 0 or return "";
    }
    put("$root/cgroup.subtree_control", "+$_") for "memory", "pids", "cpu";
    my $all = "$root/vm-snapshot";
    mkdir $all;
    put("$all/cgroup.subtree_control", "+$_") for "memory", "pids";
    mkdir "$all/$_" for "root", "user";
    -e "$all/user/pids.max" && -e "$all/memory.peak" ? $all : "";
}

# wake NONCE SECONDS NANOSECONDS SEED TOKEN PROCESSES DISK_KB: the clock stood still since the snapshot, and the random numbers
# would be the same again (RNDRESEEDCRNG: a mere write has an effect only up to a minute later). Limits of 0 are none.
sub wake {
    my ($verb, $nonce, $s, $ns, $seed, $new, $processes, $disk_kb) = @_;
    return if $verb ne "wake";
    syscall(227, 0, my $now = pack("qq", $s, $ns));
    my $mixed = open(F, "+>", "/dev/urandom") && syswrite(F, $seed) && ioctl(F, 0x5207, 0);
    $token = $new;
    # what is as it was costs nothing; but the room is counted from now on
    put("$group/user/pids.max", $processes || "max") if $group && "$processes" ne $limits;
    spare() if $group && $limits eq "";
    $room = room($disk_kb) if $disk_kb || $reserved ne "0";
    ($limits, $reserved) = ($processes, $disk_kb);
    syswrite(T, "up $nonce " . ($mixed ? "right" : "stale") . ($group ? " $group" : " -") . ($room ? " room" : " -") . "\n");
}

# Limits memory to a little less than there is: at the very end a machine is busy for minutes reading its programs again.
sub spare {
    open(F, "<", "/proc/meminfo") && join("", <F>) =~ /MemAvailable: *(\d+)/ or return;
    my $free = $1 * 1024;
    my $used = open(F, "<", "$group/memory.current") ? <F> + 0 : 0;
    put("$group/memory.max", $free + $used - (8 << 20)) if $free > 32 << 20;
}

# Reserves, without writing it, all room of the disk beyond the limit.
sub room {
    my $limit_kb = shift;
    return 1 if !-e "/.room" && !$limit_kb;
    unlink "/.room";
    syscall(137, my $root = "/", my $stat = "\0" x 120) == 0 or return 0;
    my (undef, $block, undef, undef, $free) = unpack("q5", $stat);
    my $more = $free * $block - $limit_kb * 1024;
    return 1 if !$limit_kb || $more <= 0;
    open(my $file, ">", "/.room") or return 0;
    return syscall(285, fileno($file), 0, 0, $more) == 0;
}

# One command: TOKEN; what to run, as a length and as many bytes; then stdin likewise, until a length of 0. What to run are
# words with a zero between them: the user, a way, and the command. The way is "plain", or "whole": then tag, directory and
# environment stand before the command, the tag is in the environment, and what has it ends with the command; "joined" is as
# "whole" with stderr where stdout is. Answers "o", then letter, length and bytes: 1 and 2 are what the command writes, x
# how it ended (as wait says).
sub serve {
    setsockopt(C, 6, 1, 1);
    my $net = "";
    my $take = sub {
        my $size = shift;
        while (length $net < $size) { sysread(C, $net, 65536, length $net) or exit 1 }
        return substr($net, 0, $size, "");
    };
    my $send = sub {
        my $all = shift;
        while (length $all) { my $sent = syswrite(C, $all); exit 1 if !defined $sent; substr($all, 0, $sent, "") }
    };
    $SIG{ALRM} = "DEFAULT"; alarm 20;
    my $head = $take->(4 + length $token);
    exit 1 if $token eq "" || substr($head, 0, length $token) ne $token;
    my ($user, $way, @argv) = split /\0/, $take->(unpack "N", substr($head, length $token)), -1;
    alarm 0;
    my $tag = $way eq "plain" ? "" : shift @argv;
    $send->("o");
    pipe(IR, IW); pipe(OR, OW); pipe(ER, EW);
    my $dead = 0;
    $SIG{CHLD} = sub { $dead = 1 };
    my $child = fork;
    if (!defined $child) { $send->("x" . pack("N n", 2, 255 << 8)); exit 1 }
    if (!$child) { run($user, $way, @argv) }
    close IR; close OW; close EW;
    fcntl(IW, 4, 04000);
    my ($in, $left, $open) = ("", 0, 1);
    my %from = ("1", \*OR, "2", \*ER);
    while (%from) {
        my ($ready, $room) = ("", "");
        vec($ready, fileno($_), 1) = 1 for values %from;
        if ($in eq "") { vec($ready, fileno(C), 1) = 1 } else { vec($room, fileno(IW), 1) = 1 }
        # one that was left behind may hold the ends of a command that is over
        my $found = select($ready, $room, undef, $dead ? 1 : undef);
        last if $found == 0 && $dead;
        if ($dead && $tag ne "") { end($user, $tag); $tag = "" }
        next if $found < 1;
        for (sort keys %from) {
            next if !vec($ready, fileno($from{$_}), 1);
            my $size = sysread($from{$_}, my $data, 65536);
            if ($size) { $send->(pack("a N", $_, $size) . $data) } elsif (defined $size) { delete $from{$_} }
        }
        if ($in ne "" && vec($room, fileno(IW), 1)) {
            my $sent = syswrite(IW, $in);
            if ($sent) { substr($in, 0, $sent, "") } elsif ($! != 11) { $in = ""; $open = -1 }
        }
        if ($in eq "" && vec($ready, fileno(C), 1)) { sysread(C, $net, 65536, length $net) or exit 0 }
        while ($in eq "" && length $net) {
            if ($left) {
                my $part = substr($net, 0, $left, "");
                $left -= length $part;
                $in = $part if $open == 1;
            } elsif (length $net >= 4) {
                $left = unpack("N", substr($net, 0, 4, ""));
                if (!$left) { close IW if $open == 1; $open = 0 }
            } else { last }
        }
    }
    waitpid($child, 0);
    end($user, $tag) if $tag ne "";
    $send->("x" . pack("N n", 2, $?));
}

# Kills what has the tag, until there is nothing. Only root can leave the group.
sub end {
    my ($name, $tag) = @_;
    for (1 .. 50) {
        my (%inside, @mine);
        for ($group ? ("root", "user") : ()) {
            if (open(F, "<", "$group/$_/cgroup.procs")) { for (<F>) { $inside{$_ + 0} = 1 } }
        }
        my @pids = sort keys %inside;
        if ((!$group || $name eq "root") && opendir(D, "/proc")) { @pids = grep /^\d+$/, readdir D }
        my $unsure = 0;
        for (@pids) {
            open(F, "<", "/proc/$_/environ") or next;
            if (sysread(F, my $all, 1 << 20)) { push @mine, $_ if "\0$all" =~ /\0VM_SNAPSHOT_EXEC=\Q$tag\E\0/ }
            # from one program to the next a process has no environment at all
            elsif ($inside{$_} && open(F, "<", "/proc/$_/stat") && <F> !~ /\) [ZX] /) { $unsure = 1 }
        }
        last if !@mine && !$unsure;
        kill 9, @mine;
        select(undef, undef, undef, 0.005);
    }
}

# Becomes the command.
sub run {
    my ($name, $way, @argv) = @_;
    put("$group/" . ($name eq "root" ? "root" : "user") . "/cgroup.procs", 0) if $group;
    put("/proc/self/oom_score_adj", 0);
    $SIG{$_} = "DEFAULT" for "CHLD", "HUP", "PIPE";
    open(STDIN, "<&IR"); open(STDOUT, ">&OW"); open(STDERR, $way eq "joined" ? ">&OW" : ">&EW");
    syscall(112);
    if ($name ne "root") {
        my (undef, undef, $uid, $gid) = getpwnam($name) or exit 126;
        my @groups = $gid;
        if (open(my $all, "<", "/etc/group")) {
            for (<$all>) { chomp; my (undef, undef, $id, $in) = split /:/; push @groups, $id if grep $_ eq $name, split /,/, $in }
        }
        syscall(116, scalar @groups, my $list = pack("L*", @groups)) == 0 && syscall(119, $gid, $gid, $gid) == 0
            && syscall(117, $uid, $uid, $uid) == 0 or exit 126;
    }
    if ($way ne "plain") {
        my $dir = shift @argv;
        if (!chdir $dir) { print STDERR "cannot enter $dir: $!\n"; exit 126 }
        %ENV = ();
        $ENV{$1} = $2 while @argv && $argv[0] =~ /^([^=]*)=(.*)$/s && shift @argv;
    }
    exec { $argv[0] } @argv;
    my $missing = $! == 2;
    print STDERR "$argv[0]: $!\n";
    exit($missing ? 127 : 126);
}
