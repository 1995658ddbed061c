package volume

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	const compact = "155a8574f06542f1ac2fbe8790b35160"
	tests := map[string]struct {
		in   string
		want string // "" is refused
	}{
		"compact":          {compact, compact},
		"upper case":       {strings.ToUpper(compact), compact},
		"dashed":           {"155a8574-f065-42f1-ac2f-be8790b35160", compact},
		"dashed, upper":    {"155A8574-F065-42F1-AC2F-BE8790B35160", compact},
		"empty":            {"", ""},
		"short":            {compact[1:], ""},
		"long":             {compact + "0", ""},
		"not hexadecimal":  {"g" + compact[1:], ""},
		"dots":             {"../../../../../../../../etc/passw", ""},
		"slash":            {"155a8574f06542f1/c2fbe8790b35160", ""},
		"NUL":              {"155a8574f06542f1\x00c2fbe8790b35160"[:32], ""},
		"dashes misplaced": {"155a-8574f065-42f1-ac2f-be8790b35160", ""},
		"dash for a digit": {"155a8574-f065-42f1-ac2f-be8790b3516-", ""},
		"surrounded":       {" " + compact[2:] + " ", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			id, err := ParseID(tt.in)
			if (err == nil) != (tt.want != "") {
				t.Fatalf("ParseID(%q): %v", tt.in, err)
			}
			if err == nil && id.String() != tt.want {
				t.Errorf("ParseID(%q) = %s, want %s", tt.in, id, tt.want)
			}
		})
	}
}

func TestIDsAreUnlike(t *testing.T) {
	if a, b := NewID(), NewID(); a == b {
		t.Error("two new ids are equal")
	}
	if NewID().IsZero() {
		t.Error("a new id is zero")
	}
	if a, b := IDFrom([32]byte{1}), IDFrom([32]byte{2}); !a.Less(b) || b.Less(a) || a.Less(a) {
		t.Error("Less is not an order")
	}
}

func TestIDInJSON(t *testing.T) {
	var v struct{ ID ID }
	if err := json.Unmarshal([]byte(`{"ID":"155A8574F06542F1AC2FBE8790B35160"}`), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil || string(data) != `{"ID":"155a8574f06542f1ac2fbe8790b35160"}` {
		t.Errorf("%s, %v", data, err)
	}
}

func FuzzID(f *testing.F) {
	for _, s := range []string{"", "155a8574f06542f1ac2fbe8790b35160", "155a8574-f065-42f1-ac2f-be8790b35160", "../x", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		again, err := ParseID(id.String())
		if err != nil || again != id {
			t.Errorf("%q -> %s -> %s, %v", s, id, again, err)
		}
		if strings.Trim(id.String(), "0123456789abcdef") != "" || len(id.String()) != 32 {
			t.Errorf("%q -> %q, which is not 32 digits", s, id)
		}
	})
}
