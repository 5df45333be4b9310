# Keeps one server and its folder: sh keeper.sh FOLDER LOG PROGRAM ARGUMENTS... < a pipe that stays open
#
# Says `pid N`. When the pipe closes (its holder let go, ended or was killed) the server is killed and the folder is
# removed, or left when the word `keep` came through the pipe. The pid cannot be reused before this script ends,
# because nobody else may reap the server.
folder=$1 log=$2
shift 2
trap : INT TERM HUP
if command -v setpriv > /dev/null 2>&1; then
    set -- setpriv --pdeathsig KILL "$@"
fi
"$@" < /dev/null >> "$log" 2>&1 &
server=$!
echo "pid $server"
keep=
while read -r word; do
    if [ "$word" = keep ]; then keep=yes; fi
done
kill -KILL "$server" 2> /dev/null
wait "$server" 2> /dev/null
if [ -z "$keep" ]; then rm -rf "$folder"; fi
