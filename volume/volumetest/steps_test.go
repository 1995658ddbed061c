package volumetest

import (
	"errors"
	"slices"
	"syscall"
	"testing"
)

func TestSteps(t *testing.T) {
	tests := []struct {
		name  string
		steps *Steps
		want  []int // the steps of five that fail
		hit   string
	}{
		{"the first fails", FailAt(0, syscall.ENOSPC), []int{0}, "a"},
		{"the third fails", FailAt(2, syscall.ENOSPC), []int{2}, "c"},
		{"none fails", FailAt(5, syscall.ENOSPC), nil, ""},
		{"a crash at once", CrashAt(0), []int{0, 1, 2, 3, 4}, "a"},
		{"a crash at the fourth", CrashAt(3), []int{3, 4}, "d"},
		{"no crash", CrashAt(5), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var failed []int
			for i, op := range []string{"a", "b", "c", "d", "e"} {
				if err := tt.steps.Step(op); err != nil {
					failed = append(failed, i)
					if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
						t.Errorf("error %v", err)
					}
				}
			}
			op, hit := tt.steps.Hit()
			if !slices.Equal(failed, tt.want) || op != tt.hit || hit != (tt.hit != "") {
				t.Errorf("failed %v, hit %q, %t", failed, op, hit)
			}
		})
	}
}
