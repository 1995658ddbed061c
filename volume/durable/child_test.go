package durable

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// childEnv is the environment variable that makes this test's binary another process, with a task of its own.
const childEnv = "ELSTORE_TEST_CHILD"

// tasks are what a child can do in the directory that is its first argument.
var tasks = map[string]func(root *os.Root) error{
	"write for ever": writeForEver,
	"write too much": writeTooMuch,
}

func TestMain(m *testing.M) {
	task, ok := tasks[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	root, err := os.OpenRoot(os.Args[1])
	if err == nil {
		err = task(root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child returns a process that is to do the task with the arguments, the first of which is its directory.
func child(t *testing.T, task string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+task)
	cmd.Stderr = os.Stderr
	return cmd
}
