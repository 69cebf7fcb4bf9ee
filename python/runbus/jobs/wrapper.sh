# Runs one attempt of a job and keeps the record of it, on any machine with a POSIX shell.
#
#   sh wrapper.sh run FOLDER            in a session of its own; returns when the job has ended
#   sh wrapper.sh cancel FOLDER GRACE   TERM to the job's process group, KILL after GRACE seconds
#
# In FOLDER it reads request.sh, and leaves
#   stdout.log, stderr.log   what the job wrote: files, not pipes, so nobody's death can block it
#   pid.json                 who runs: process group, start time and boot id tell it from a reused pid
#   exit.json                how it ended; appears whole, by rename
#   cancel                   somebody asked for the end; a job that has not begun yet does not begin
#
# The job is the foreground child: a background one would inherit ignored INT and QUIT. It leads a
# session of its own, so that one kill reaches everything it started and spares this script.

set -u
case $0 in
/*) self=$0 ;;
*) self=$PWD/$0 ;;
esac

record_exit() {
    up=0
    read -r up _ 2>/dev/null </proc/uptime || :
    printf '{"status":%d,"uptime":%s,"reason":"%s"}\n' "$1" "${up:-0}" "${2-}" >exit.json.new &&
        mv -f exit.json.new exit.json
}

case $1 in
run)
    cd "$2" || exit 111
    trap : TERM INT HUP
    if ! { true >>stdout.log && true >>stderr.log; } 2>/dev/null; then
        record_exit 126 "cannot open the log files"
        exit 126
    fi
    if [ -e cancel ]; then
        record_exit 143
        exit 143
    fi
    alone=
    command -v setsid >/dev/null 2>&1 && alone=setsid
    $alone sh "$self" job >>stdout.log 2>>stderr.log
    record_exit $?
    ;;
job)
    boot= host= up=0 line='0 (sh) S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0'
    read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || :
    read -r host 2>/dev/null </proc/sys/kernel/hostname || :
    read -r up _ 2>/dev/null </proc/uptime || :
    read -r line 2>/dev/null </proc/$$/stat || :
    request=$PWD/request.sh
    # Field 22, the start time in clock ticks, counted after the name, which may hold spaces.
    set -- ${line##*) }
    printf '{"pid":%d,"start":%s,"boot":"%s","host":"%s","uptime":%s}\n' \
        $$ "${20:-0}" "$boot" "$host" "${up:-0}" >pid.json
    # After pid.json: whoever cancels first makes the file and then looks for the pid.
    [ -e cancel ] && exit 143
    . "$request"
    ;;
cancel)
    cd "$2" || exit 111
    : >cancel
    [ -e exit.json ] && exit 0
    line=
    read -r line 2>/dev/null <pid.json || exit 0
    pid=${line#*\"pid\":}
    pid=${pid%%,*}
    start=${line#*\"start\":}
    start=${start%%,*}
    now=
    read -r now 2>/dev/null <"/proc/$pid/stat" || :
    # A pid that was given to another process since has another start time.
    [ -n "$now" ] && set -- "$1" "$2" "$3" ${now##*) } && [ "$start" != "${23}" ] && exit 0
    left=$3
    [ "$left" -gt 0 ] && kill -TERM "-$pid" 2>/dev/null && kill -CONT "-$pid" 2>/dev/null
    # The group lives as long as anything in it does, also after the job itself has ended.
    while [ "$left" -gt 0 ] && kill -0 "-$pid" 2>/dev/null; do
        sleep 1
        left=$((left - 1))
    done
    kill -KILL "-$pid" 2>/dev/null
    exit 0
    ;;
esac
