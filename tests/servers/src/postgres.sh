# Runs a PostgreSQL server. Reads commands from standard input, one per line, and answers each with
# one line: `ok` or an error. When standard input is closed, even because the parent was killed, it
# stops the server and deletes the directory.
bin=$1 password=$2
folder=$(mktemp -d) && cd "$folder" || exit 1

answer() {
    if "$@" >output 2>&1 </dev/null; then echo ok; else cat output log 2>&1 | tail -n 20 | tr '\n' ' '; echo; fi
}

make() {
    echo "$password" >password
    # Without SCRAM, whose 4096 hashes a connection takes long in a client without optimization.
    "$bin/initdb" --pgdata data --username postgres --auth-local trust --auth-host password \
        --pwfile password --encoding UTF8 --locale C --no-sync
    printf '%s\n' "unix_socket_directories = '$folder'" "listen_addresses = '127.0.0.1'" >>data/postgresql.conf
}

start() {
    "$bin/pg_ctl" --pgdata data --log log --options "-p $1" --wait start
}

# The remaining processes of a killed server take a while to exit, and prevent a new one from
# starting.
start_again() {
    for _ in $(seq 100); do
        start "$1" && return
        sleep 0.1
    done
    return 1
}

# Takes effect at the next start. Passwords are checked with SCRAM then, as in production.
encrypt() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
        -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1 \
        -keyout data/server.key -out data/server.crt
    chmod 600 data/server.key
    echo 'ssl = on' >>data/postgresql.conf
    sed -i 's/ password$/ scram-sha-256/' data/pg_hba.conf
}

stop() {
    "$bin/pg_ctl" --pgdata data --mode "$1" --wait stop
}

while read -r command argument; do
    case $command in
    make) answer make ;;
    start) answer start "$argument" ;;
    start-again) answer start_again "$argument" ;;
    encrypt) answer encrypt ;;
    stop) answer stop fast ;;
    kill) answer kill -9 "$(head -n 1 data/postmaster.pid)" ;;
    esac
done
stop immediate >/dev/null 2>&1
rm -rf "$folder"
