# Runs one attempt of a job and keeps the record of it, on any machine with a POSIX shell.
#
#   sh wrapper.sh run FOLDER            in a session of its own; returns when the job has ended
#   sh wrapper.sh cancel FOLDER GRACE   TERM to the job's process group, KILL after GRACE seconds
#
# In FOLDER it reads request.sh and, if there is one, limit ("SECONDS GRACE"), and leaves
#   claim                    made once: whoever is second, after any confusion, does not run the job
#   stdout.log, stderr.log   what the job wrote: files, not pipes, so nobody's death can block it
#   pid.json                 who runs: process group, start time and boot id tell it from a reused pid
#   exit.json                how it ended; appears whole, by rename
#   cancel                   somebody asked for the end; a job that has not begun yet does not begin
#   expired                  the job reached its time limit
#
# The job is the foreground child: a background one would inherit ignored INT and QUIT. It leads a
# session of its own, so that one kill reaches everything it started and spares this script.

set -u
case $0 in
/*) self=$0 ;;
*) self=$PWD/$0 ;;
esac

record_exit() {
    up=0 user=0m0s sys=0m0s reason=${2-}
    read -r up _ 2>/dev/null </proc/uptime || :
    times >times.new
    # The second line is about the children: the job and all that it waited for.
    { read -r _ && read -r user sys; } <times.new
    [ -e expired ] && reason='time limit'
    printf '{"status":%d,"uptime":%s,"user":"%s","sys":"%s","reason":"%s"}\n' \
        "$1" "${up:-0}" "$user" "$sys" "$reason" >exit.json.new &&
        mv -f exit.json.new exit.json
}

# TERM to the group of the job in pid.json, KILL after $1 seconds.
end_job() {
    left=$1 line=
    [ -e exit.json ] && return
    read -r line 2>/dev/null <pid.json || return
    pid=${line#*\"pid\":}
    pid=${pid%%,*}
    start=${line#*\"start\":}
    start=${start%%,*}
    boot=${line#*\"boot\":\"} now=
    read -r now 2>/dev/null </proc/sys/kernel/random/boot_id || :
    # After a reboot another process may have this pid, even with this start time.
    [ "$now" = "${boot%%\"*}" ] || return
    now=
    read -r now 2>/dev/null <"/proc/$pid/stat" || :
    # A pid that was given to another process since has another start time.
    if [ -n "$now" ]; then
        # shellcheck disable=SC2086
        set -- ${now##*) }
        [ "$start" != "${20}" ] && return
    fi
    [ "$left" -gt 0 ] && kill -TERM "-$pid" 2>/dev/null && kill -CONT "-$pid" 2>/dev/null
    # The group lives as long as anything in it does, also after the job itself has ended.
    while [ "$left" -gt 0 ] && kill -0 "-$pid" 2>/dev/null; do
        sleep 1
        left=$((left - 1))
    done
    kill -KILL "-$pid" 2>/dev/null
}

case $1 in
run)
    cd "$2" || exit 111
    set -C
    { true >claim; } 2>/dev/null || exit 75
    set +C
    trap : TERM INT HUP
    if ! { true >>stdout.log && true >>stderr.log; } 2>/dev/null; then
        record_exit 126 'cannot open the log files'
        exit 126
    fi
    if [ -e cancel ]; then
        record_exit 143
        exit 143
    fi
    alone= watch=
    command -v setsid >/dev/null 2>&1 && alone=setsid
    if [ -e limit ]; then
        $alone sh "$self" limit &
        watch=$!
    fi
    $alone sh "$self" job >>stdout.log 2>>stderr.log
    record_exit $?
    # With its sleep: they are a session of their own.
    if [ -n "$watch" ]; then
        kill -KILL "-$watch" 2>/dev/null || kill -KILL "$watch" 2>/dev/null
    fi
    exit 0
    ;;
job)
    boot= host= up=0 line='0 (sh) S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0'
    read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || :
    read -r host 2>/dev/null </proc/sys/kernel/hostname || :
    read -r up _ 2>/dev/null </proc/uptime || :
    read -r line 2>/dev/null </proc/$$/stat || :
    request=$PWD/request.sh
    # Field 22, the start time in clock ticks, counted after the name, which may hold spaces.
    # shellcheck disable=SC2086
    set -- ${line##*) }
    printf '{"pid":%d,"start":%s,"boot":"%s","host":"%s","uptime":%s}\n' \
        $$ "${20:-0}" "$boot" "$host" "${up:-0}" >pid.json
    # After pid.json: whoever cancels first makes the file and then looks for the pid.
    [ -e cancel ] && exit 143
    # shellcheck disable=SC1090
    . "$request"
    ;;
limit)
    read -r seconds grace <limit
    sleep "$seconds"
    true >expired
    end_job "$grace"
    ;;
cancel)
    cd "$2" || exit 111
    true >cancel
    end_job "$3"
    exit 0
    ;;
esac
