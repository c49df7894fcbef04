# Runs a nats-server. Reads commands from standard input, one per line, and answers each with one
# line: `ok` or an error. When standard input is closed, even because the parent was killed, it
# kills the server and deletes the directory.
program=$1 configuration=$2 ready=$3
# A signal that ends this script would leave the server behind. SIGPIPE is sent if the parent no
# longer reads answers, and SIGHUP if the process group is orphaned and has a suspended process.
trap '' PIPE HUP
folder=$(mktemp -d) && cd "$folder" || exit 1
printf '%s\n' "$configuration" >configuration
server=

answer() {
    if "$@" >output 2>&1; then echo ok; else cat output log 2>&1 | tail -n 20 | tr '\n' ' '; echo; fi
}

start() {
    if runs; then echo "the server runs already"; return 1; fi
    : >log # The previous run logged that it was ready.
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

# Ends the server with a signal and waits until it has exited.
end() {
    runs && kill "-$1" "$server" || return
    kill -CONT "$server" # A suspended process handles no other signal but SIGKILL.
    wait
    server=
}

# Returns once all threads of the server are stopped.
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
