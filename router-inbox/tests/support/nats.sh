# A nats-server that does what it is told, a command a line, and answers each with a line: `ok`, or what is wrong. It
# ends, and its folder goes, once nobody is there to tell it anything, however they went.
program=$1 configuration=$2 ready=$3
# It would leave the server behind if it died of an answer that nobody reads; or of a hangup, which comes to a group
# without a parent that has a suspended process.
trap '' PIPE HUP
folder=$(mktemp -d) && cd "$folder" || exit 1
printf '%s\n' "$configuration" >configuration
server=

answer() {
    if "$@" >said 2>&1; then echo ok; else cat said log 2>&1 | tail -n 20 | tr '\n' ' '; echo; fi
}

start() {
    if runs; then echo "it runs already"; return 1; fi
    : >log # So that it is not ready by what it said the last time.
    "$program" --config configuration >>log 2>&1 </dev/null &
    server=$!
    for _ in $(seq 1500); do
        if grep -q "$ready" log; then return; fi
        runs || break
        sleep 0.02
    done
    end KILL
    return 1
}

runs() {
    [ "$server" ] && kill -0 "$server"
}

# By a signal. Nothing is left of it afterwards.
end() {
    runs && kill "-$1" "$server" || return
    kill -CONT "$server" # Where it is suspended it minds no other.
    wait
    server=
}

# It is suspended once all its threads are.
suspend() {
    runs && kill -STOP "$server" || return
    for _ in $(seq 500); do
        grep -L '^State:.*stopped' "/proc/$server/task/"*/status | grep -q . || return 0
        sleep 0.01
    done
    return 1
}

resume() {
    runs && kill -CONT "$server"
}

while read -r command; do
    case $command in
    start) answer start ;;
    stop) answer end TERM ;;
    kill) answer end KILL ;;
    suspend) answer suspend ;;
    resume) answer resume ;;
    esac
done
end KILL >/dev/null 2>&1
rm -rf "$folder"
