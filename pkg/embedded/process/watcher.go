package process

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// gateScript executes the program once a line arrives on descriptor 3. End of file
// means that the parent is gone.
func gateScript(keepMark bool) string {
	const script = `IFS= read -r word <&3 || exit 125
exec 3<&- %s5<&- 6<&- 7<&- 8<&- 9<&-
exec "$@"`
	if keepMark {
		return fmt.Sprintf(script, "")
	}
	return fmt.Sprintf(script, "4<&- ")
}

// watchScript takes the signal, the process id and the grace in tenths of a second.
// A line on stdin dismisses it; end of file means that the parent is gone. A zombie
// counts as ended, because in a container without an init nobody reaps it.
const watchScript = `trap '' HUP INT QUIT TERM
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
IFS= read -r word && exit 0
alive() {
	kill -0 "$2" 2>/dev/null || return 1
	read -r stat 2>/dev/null <"/proc/$2/stat" || return 0
	stat=${stat##*) }
	[ "${stat%% *}" != Z ]
}
kill -s "$1" "$2" 2>/dev/null
n=0
while alive "$@" && [ "$n" -lt "$3" ]; do
	sleep 0.1 2>/dev/null || sleep 1
	n=$((n + 1))
done
if alive "$@"; then
	kill -s KILL -- "-$2" 2>/dev/null
	kill -s KILL "$2" 2>/dev/null
fi`

// removeScript removes the given directories once the parent is gone. It repeats
// that, because a server that is still stopping may add files.
const removeScript = `trap '' HUP INT QUIT TERM
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
IFS= read -r word && exit 0
for dir; do
	n=0
	while [ -e "$dir" ] && [ "$n" -lt 100 ]; do
		rm -rf -- "$dir" 2>/dev/null
		[ -e "$dir" ] || break
		sleep 0.1 2>/dev/null || sleep 1
		n=$((n + 1))
	done
done`

// watcher is a shell that acts at the end of its stdin, when the parent is gone.
type watcher struct {
	life  *os.File // the only write end
	ended chan struct{}
}

func watch(pid int, signal syscall.Signal, grace time.Duration) (*watcher, error) {
	tenths := strconv.FormatInt(int64((grace+99*time.Millisecond)/(100*time.Millisecond)), 10)
	return startWatcher(watchScript, strconv.Itoa(int(signal)), strconv.Itoa(pid), tenths)
}

func startWatcher(script string, args ...string) (*watcher, error) {
	end, life, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start watcher: %w", err)
	}
	defer func() { _ = end.Close() }()
	cmd := exec.Command(shell, append([]string{"-c", script, "dispatch-watcher"}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.Dir = "/"
	cmd.Stdin = end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = life.Close()
		return nil, fmt.Errorf("start watcher: %w", err)
	}
	w := &watcher{life: life, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		_ = cmd.Wait()
		// This reference to life keeps the garbage collector from closing it, which would trigger
		// the watcher although the parent lives.
		_ = w.life.Close()
	}()
	return w, nil
}

// dismiss ends the watcher without letting it act.
func (w *watcher) dismiss() {
	_, _ = w.life.WriteString("done\n")
	<-w.ended
}

// RemoveAtDeath removes directories with their content if this process dies without
// calling release. The directories need not exist yet: call RemoveAtDeath before
// creating them, so that none is left behind at any moment. release keeps them. Call
// it at most once.
func RemoveAtDeath(dirs ...string) (release func(), err error) {
	w, err := startWatcher(removeScript, dirs...)
	if err != nil {
		return nil, err
	}
	return w.dismiss, nil
}
