# Runs one attempt of a job and keeps the record of it, on any machine with a POSIX shell.
#
#   sh wrapper.sh run FOLDER [NS]            in a session of its own; returns when the job has ended
#   sh wrapper.sh cancel FOLDER GRACE [NS]   TERM to what the job started, KILL after GRACE seconds
#
# NS is the pid namespace in which this runs, as /proc/self/ns/pid shows it: a number of a process
# means nothing in another one.
#
# In FOLDER it reads request.sh and, if they are there, limit ("SECONDS GRACE") and beat
# ("SECONDS"), and leaves
#   exit.json                made first, and blank: a process that finds it, after any confusion, does not
#                            run the job. Filled in at the end: how the job ended. Its space is taken
#                            at the start, so that a disk that is full by then loses nothing
#   stdout.log, stderr.log   what the job wrote: files, not pipes, so nobody's death can block it
#   pid.json                 who runs: process group, start time, boot id and pid namespace tell it
#                            from another process with the same number
#   wrapper.log              what the shell says of the job's end, then the processor time it took
#   heartbeat                the uptime, written again every so many seconds
#   cancel                   somebody asked for the end; a job that has not begun yet does not begin
#   expired                  the job reached its time limit
#
# The job is the foreground child: a background one would inherit ignored INT and QUIT. It leads a
# session of its own, so that one kill reaches its process group and spares this script. What it
# starts in other groups and sessions is found by the session's number and by RUNBUS_ATTEMPT in its
# environment, which is FOLDER. A process that has left the session and has cleared its environment
# is not found.
# What the job inherits must not change: names that are set before it starts begin with rb_.

set -u
unset rb_alone rb_request
case $0 in
/*) rb_self=$0 ;;
*) rb_self=$PWD/$0 ;;
esac

# Set rb_pid to the pid of this very shell, which $$ is not in a subshell, and rb_stat to its line.
own_pid() {
    if read -r rb_stat </proc/self/stat; then
        rb_pid=${rb_stat%% *}
    else
        rb_stat=') S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0'
        rb_pid=$(exec sh -c 'echo "$PPID"')
    fi
}

# Set rb_kills to how often the kernel has killed a process in this control group because memory ran out.
count_kills() {
    rb_kills=0 rb_v1=/ rb_v2=/
    while IFS=: read -r _ rb_name rb_path; do
        case $rb_name in
        '') rb_v2=$rb_path ;;
        memory) rb_v1=$rb_path ;;
        esac
    done </proc/self/cgroup
    # A container may see its own group as the root, whatever it is called here.
    for rb_path in "$rb_v2/memory.events" /memory.events \
        "/memory$rb_v1/memory.oom_control" /memory/memory.oom_control; do
        [ -r "/sys/fs/cgroup$rb_path" ] || continue
        while read -r rb_name rb_path; do
            [ "$rb_name" != oom_kill ] || rb_kills=$rb_path
        done <"/sys/fs/cgroup$rb_path"
        return
    done
}

# Whether this shell says something when signal $1 kills a job.
would_tell() {
    case $(kill -l "$1" 2>/dev/null) in
    # These kill nobody.
    '' | CHLD | CONT | STOP | TSTP | TTIN | TTOU | URG | WINCH) return 0 ;;
    esac
    (
        ulimit -c 0
        own_pid
        kill "-$1" "$rb_pid"
    )
    : # With the next command dash has said it.
    [ -s wrapper.log ]
}

# Set status, signal and reason from what the shell gave as the status. It gives 128 + n for signal n
# and also for a job that exits with that, but about most signals it says something as well.
tell_end() {
    : # With the next command dash has said what it has to say.
    kills=$rb_kills
    if [ "$status" -le 128 ]; then
        [ -e pid.json ] || reason='cannot open the log files'
        [ ! -e pid.json ] || [ -s pid.json ] || reason='no space for its records'
    elif [ -s wrapper.log ]; then
        signal=$((status - 128))
    elif ! would_tell $((status - 128)); then
        reason="exit status $status or signal $((status - 128)): its shell does not say which"
    fi
    if [ "$status" -ne 0 ]; then
        count_kills 2>/dev/null
        if [ "$rb_kills" != "$kills" ]; then
            # Of a job that exits by itself it was another process, its own or a neighbor's.
            reason="exit code $status, after the kernel killed a process that ran out of memory"
            [ "$signal" != 9 ] || reason='out of memory'
        fi
    fi
    [ -n "$reason" ] || [ ! -e cancel ] || reason=cancelled
    [ ! -e expired ] || reason='time limit'
}

# Set rb_outlived to whether something of the job's process group has outlived its first process.
look_for_rest() {
    rb_line=
    read -r rb_line <pid.json || return
    rb_line=${rb_line#*\"pid\":}
    kill -0 "-${rb_line%%,*}" && rb_outlived=true
} 2>/dev/null

# Print the record; $1 and $2 are the processor time of the job.
tell_record() {
    line="{\"status\":$status,\"signal\":$signal,\"reason\":\"$reason\""
    line="$line,\"uptime\":${up:-0},\"user\":\"$1\",\"sys\":\"$2\",\"outlived\":$rb_outlived}"
    printf '%-511s\n' "$line"
}

record_exit() {
    up=0 user=0m0s sys=0m0s left=${rb_patience:-60}
    times >wrapper.log
    # The second line is about the children: the job and all that it waited for.
    { read -r _ && read -r user sys; } <wrapper.log
    read -r up _ </proc/uptime
    # Where space could not be kept it is waited for, unless somebody has cleared all this away, or
    # put something else in its place.
    until tell_record "$user" "$sys" 1<>exit.json; do
        left=$((left - 1))
        { [ "$left" -gt 0 ] && [ -f exit.json ]; } || return
        sleep 1
    done
} 2>/dev/null

# Whether the job's first process is there, and not another that was given its pid since.
is_there() {
    [ "$start" = 0 ] && return
    now=
    read -r now 2>/dev/null <"/proc/$pid/stat" || return
    # shellcheck disable=SC2086
    set -- ${now##*) }
    [ "$start" = "${20}" ]
}

# Set others to the live processes of the job that are not in its process group: those of its
# session, and those that have its mark in their environment.
find_others() {
    marked=" $(grep -lszxF "RUNBUS_ATTEMPT=$rb_folder" /proc/[0-9]*/environ | tr '\n' ' ')"
    # Before the last parenthesis is the name; after it state, parent, process group, session.
    others=$(cat /proc/[0-9]*/stat | awk -v pid="$pid" -v marked="$marked" '{
        number = $1
        sub(/.*\) /, "")
        # A first thread that has ended is a zombie, too, while others continue.
        if (($1 !~ /[ZX]/ || $18 > 1) && $3 != pid && ($4 == pid || index(marked, " /proc/" number "/")))
            printf " %s", number
    }')
}

# Signal $1 to the job: it is one process still until it leads its session.
send() {
    kill "-$1" "-$pid" || { is_there && kill "-$1" "$pid"; }
}

# Signal $1 to what is not in its process group.
send_others() {
    find_others
    # shellcheck disable=SC2086
    [ -z "$others" ] || kill "-$1" $others
}

# TERM to the job in pid.json, KILL after $1 seconds; $2 is the pid namespace.
end_job() {
    # Up to whole seconds, since not every `sleep` knows others: half a second is not none.
    left=${1%%.*} line= now=
    case $1 in *.*[1-9]*) left=$((left + 1)) ;; esac
    [ -f exit.json ] && read -r line <exit.json
    case $line in "{"*) return ;; esac
    read -r line <pid.json || return
    pid=${line#*\"pid\":} start=${line#*\"start\":} boot=${line#*\"boot\":\"}
    pid=${pid%%,*} start=${start%%,*} boot=${boot%%\"*}
    read -r now </proc/sys/kernel/random/boot_id
    [ "$now" = "$boot" ] || return
    # Of a job whose namespace nobody noted it is taken for this one.
    case $line in
    *"\"ns\":\"$2\""* | *'"ns":""'*) ;;
    *'"ns":"'*) return ;;
    esac
    # Of a job whose first process has ended the others may live.
    [ ! -e "/proc/$pid" ] || is_there || return
    if [ "$left" -gt 0 ]; then
        send TERM
        send CONT
        send_others TERM
        send_others CONT
    fi
    while [ "$left" -gt 0 ] && { send 0 || { find_others && [ -n "$others" ]; }; }; do
        sleep 1
        left=$((left - 1))
    done
    send KILL
    send_others KILL
    # Again for what these had started in between.
    [ -z "$others" ] || send_others KILL
} 2>/dev/null

rb_folder=${2-}
case $1 in
run)
    cd "$rb_folder" || exit 111
    rb_outlived=false
    # Who may not look into the folder may not read what is made here, either; the job has its own.
    rb_umask=$(umask)
    if [ -g . ]; then umask 007; else umask 077; fi
    set -C
    { true >exit.json; } 2>/dev/null || exit 75
    set +C
    trap : TERM INT HUP
    # Not at once: a shell whose `exec` fails ends.
    { true >wrapper.log; } 2>/dev/null && exec 2>>wrapper.log
    if ! printf '%511s\n' '' 1<>exit.json; then
        status=126 signal=null reason='no space for its records' rb_patience=2
        # The request gives its place on the disk to the record.
        read -r up _ </proc/uptime
        tell_record 0m0s 0m0s >request.sh && mv -f request.sh exit.json || record_exit
        exit 126
    fi
    if [ -e cancel ]; then
        status=143 signal=15 reason=
        record_exit
        exit 143
    fi
    # By its path: the job may have another PATH. What is looked up costs a process.
    rb_alone=/usr/bin/setsid
    [ -x "$rb_alone" ] || rb_alone=$(command -v setsid)
    rb_watch=
    if [ -e limit ] || [ -e beat ]; then
        ${rb_alone:+"$rb_alone"} sh "$rb_self" watch "$rb_folder" "${3-}" 2>/dev/null &
        rb_watch=$!
    fi
    count_kills 2>/dev/null
    (
        rb_boot= rb_host= rb_up=0 rb_ns=${3-} rb_request=$PWD/request.sh
        {
            read -r rb_boot </proc/sys/kernel/random/boot_id
            read -r rb_host </proc/sys/kernel/hostname
            read -r rb_up _ </proc/uptime
            own_pid
        } 2>/dev/null
        # Field 22, the start time in clock ticks, counted after the name, which may hold spaces.
        # shellcheck disable=SC2086
        set -- ${rb_stat##*) }
        printf '{"pid":%d,"start":%s,"boot":"%s","ns":"%s","host":"%s","uptime":%s}\n' \
            "$rb_pid" "${20}" "$rb_boot" "$rb_ns" "$rb_host" "${rb_up:-0}" >pid.json || exit 126
        # After pid.json: who asks for the end, or the limit, makes a file first and then looks for the pid.
        { [ ! -e cancel ] && [ ! -e expired ]; } || kill -TERM "$rb_pid"
        export RUNBUS_ATTEMPT="$rb_folder"
        umask "$rb_umask"
        set +u
        # shellcheck disable=SC1090
        . "$rb_request"
    ) >>stdout.log 2>>stderr.log
    status=$? signal=null reason=
    tell_end
    look_for_rest
    record_exit
    # With its sleep: they are a session of their own. One that ends the job sees to the rest of it.
    # It goes first: one that leads no session yet would start its sleep after the others were killed.
    if [ -n "$rb_watch" ] && [ ! -e expired ]; then
        kill -KILL "$rb_watch"
        kill -KILL "-$rb_watch"
    fi
    exit 0
    ;;
watch)
    cd "$rb_folder" || exit 111
    if [ -e beat ]; then
        read -r seconds <beat
        while read -r up _ </proc/uptime && printf '%-31s\n' "$up" 1<>heartbeat; do
            sleep "$seconds"
        done &
        beating=$!
    fi
    if [ -e limit ]; then
        read -r seconds grace <limit
        sleep "$seconds"
        true >expired
        end_job "$grace" "${3-}"
        [ ! -e beat ] || kill "$beating"
    fi
    wait
    ;;
cancel)
    cd "$rb_folder" || exit 111
    true >cancel
    end_job "$3" "${4-}"
    exit 0
    ;;
esac
