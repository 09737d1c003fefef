# Runs a program on another machine and watches it: sh runner.sh PROGRAM ARGUMENT..., in the folder that was made for it.
# Standard input stays open as long as the connection lives; at its end the program is ended and the folder removed.
# Prints lines: `exit CODE`; `start` and `end` in nanoseconds (where `date` knows them); the most that was seen of VmHWM
# and RssFile in kB (where there is /proc); `said` and what the program wrote; `complained` and the end of its errors.
folder=$(pwd -P)
exec 3<&0
start=$(date +%s%N)
"$@" >out 2>err </dev/null 3<&- &
child=$!
echo "$child" >pid
(
  while read -r line <&3; do :; done
  kill -9 "$child"
  cd / && { rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }; }
) >/dev/null 2>&1 &
keeper=$!
(
  # shell built-ins only, but for the sleep: what watches must not slow what is measured
  peak=0 mapped=0
  while [ -r "/proc/$child/status" ]; do
    changed=
    while read -r name value unit; do
      case $name in
        VmHWM:) [ "$value" -gt "$peak" ] && peak=$value changed=yes ;;
        RssFile:) [ "$value" -gt "$mapped" ] && mapped=$value changed=yes ;;
      esac
    done <"/proc/$child/status"
    [ "$changed" ] && echo "VmHWM $peak
RssFile $mapped" >memory.new && mv memory.new memory
    sleep 0.2 || sleep 1
  done
) >/dev/null 2>&1 3<&- &
sampler=$!
wait "$child"
code=$?
end=$(date +%s%N)
kill "$keeper" "$sampler"
echo "exit $code"
echo "start $start"
echo "end $end"
[ -f memory ] && cat memory
echo said
cat out
echo
echo complained
tail -n 5 err
