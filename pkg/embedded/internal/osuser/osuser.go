// Package osuser chooses the user that a private server runs as, and checks that
// this user can access the directory.
package osuser

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrUnreachable means that the chosen user cannot enter a directory.
var ErrUnreachable = errors.New("directory out of reach")

// User is the user that a server runs as.
type User struct {
	Name     string
	UID, GID int
	// Switch is true if this is not our own user. Only root can switch.
	Switch bool
}

// Choose returns our own user unless we are root. Root uses the owner of existing if
// that path exists and does not belong to root, else the first of names that exists.
func Choose(existing string, names ...string) (User, error) {
	if os.Geteuid() != 0 {
		return User{Name: nameOf(os.Geteuid()), UID: os.Geteuid(), GID: os.Getegid()}, nil
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(existing, &stat); err == nil && stat.Uid != 0 {
		uid := int(stat.Uid)
		return User{Name: nameOf(uid), UID: uid, GID: int(stat.Gid), Switch: true}, nil
	}
	for _, name := range names {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return User{Name: name, UID: uid, GID: gid, Switch: true}, nil
		}
	}
	return User{}, fmt.Errorf("started by root, and none of the users %s exists to run the server as: "+
		"create one or start as an ordinary user", strings.Join(names, ", "))
}

func nameOf(uid int) string {
	if found, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return found.Username
	}
	return strconv.Itoa(uid)
}

// Credential returns the credential to start a process with, nil for our own user.
// It has no supplementary groups, so the server gets no permissions from root's
// groups.
func (a User) Credential() *syscall.Credential {
	if !a.Switch {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)}
}

// Chown makes the user the owner of path.
func (a User) Chown(path string) error {
	if !a.Switch {
		return nil
	}
	return os.Lchown(path, a.UID, a.GID)
}

// MakeDir creates dir and its missing parents. If root creates them for another
// user, everyone may enter them (but not list them), regardless of the umask, so
// that this user can reach dir. An existing empty directory, such as one made by
// mktemp -d, gets the same mode. A directory with content keeps its mode, because
// its content may depend on it.
func (a User) MakeDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		return a.allowTraversalIfEmpty(dir, info)
	}
	if parent := filepath.Dir(dir); parent != dir {
		if _, err := os.Stat(parent); err != nil {
			if err := a.MakeDir(parent); err != nil {
				return err
			}
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return a.allowTraversal(dir, 0o700)
}

func (a User) allowTraversalIfEmpty(dir string, info os.FileInfo) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return nil //nolint:nilerr // an unreadable directory may have content
	}
	return a.allowTraversal(dir, info.Mode().Perm())
}

func (a User) allowTraversal(dir string, mode os.FileMode) error {
	if !a.Switch || mode&0o001 != 0 {
		return nil
	}
	return os.Chmod(dir, mode|0o011)
}

// enterScript prints the first directory of its arguments that can't be entered.
const enterScript = `for dir; do
	cd "$dir" 2>/dev/null || { printf '%s' "$dir"; exit 1; }
done`

// CheckAccess tries, as that user, to enter dir and each of its parents. If a
// directory refuses, the error wraps ErrUnreachable, names that directory and says
// what to do. It really enters them, because mode bits don't show access lists or
// other rules of the system.
func (a User) CheckAccess(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	args := []string{"-c", enterScript, "sh"}
	for at := 0; at < len(real); at++ {
		if real[at] == '/' {
			args = append(args, real[:at+1])
		}
	}
	cmd := exec.Command("/bin/sh", append(args, real)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.Credential()}
	var blocked bytes.Buffer
	cmd.Stdout = &blocked
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if blocked.Len() == 0 {
		return fmt.Errorf("run as user %s: %w", a.Name, err)
	}
	barrier := filepath.Clean(blocked.String())
	mode := ""
	if info, err := os.Stat(barrier); err == nil {
		mode = " (" + info.Mode().String() + ")"
	}
	why := ""
	if a.Switch {
		why = " (the server refuses to run as root)"
	}
	return fmt.Errorf("%w: user %s%s cannot enter %s%s, so %s is of no use to it: "+
		"choose another data directory, such as /var/lib/dispatch, start as an ordinary user, or run: chmod o+x %s",
		ErrUnreachable, a.Name, why, barrier, mode, real, barrier)
}
