package samba

import (
	"os"
	"testing"

	"elstore/test/need"
)

func TestMain(m *testing.M) { os.Exit(need.RunWithOwnEtc(m)) }
