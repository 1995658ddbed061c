package pool

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"elstore/volume/fault"
)

func TestParseSettings(t *testing.T) {
	with := func(change func(*Settings)) Settings {
		s := DefaultSettings()
		change(&s)
		return s
	}
	tests := []struct {
		name, text string
		want       Settings
	}{
		{"least", `{}`, DefaultSettings()},
		{"white space around", " \n{ }\t\n", DefaultSettings()},
		{
			"the source document's",
			`{"max-volumes": 6, "max-volume-size": "50G", "max-total-size": "200G", "file-system": "default"}`,
			with(func(s *Settings) { s.Limits = Limits{6, 50 * gb, 200 * gb} }),
		},
		{
			"everything", `{"max-volumes": "7", "max-volume-size": 1024, "max-total-size": "2Ti", "file-system": "unique",
			"name": "fast one", "reserve": "1.5MB", "bin-retention": "7d", "bin-keep": true, "shared": true,
			"ceph": {"pool": "rbd", "conf": "/etc/ceph/c.conf", "user": "admin", "keyring": "/k", "more": 1}}`,
			Settings{
				Name: "fast one", Limits: Limits{7, 1024, 2 << 40}, Unique: true, Reserve: 1_500_000, BinRetention: 7 * 24 * time.Hour,
				BinKeep: true, Shared: true, Ceph: &Ceph{"rbd", "/etc/ceph/c.conf", "admin", "/k"},
			},
		},
		{"null is absent", `{"max-volumes": null, "shared": null, "ceph": null, "name": null}`, DefaultSettings()},
		{"no room at all", `{"max-volumes": 0, "max-total-size": "0"}`, with(func(s *Settings) { s.Limits.Volumes, s.Limits.TotalSize = 0, 0 })},
		{"nothing is kept", `{"bin-retention": "0s"}`, with(func(s *Settings) { s.BinRetention = 0 })},
		{"unknown keys", `{"comment": {"a": [1, {"a": 2, "a": 3}]}, "MAX-VOLUMES": -1, "Shared": 7}`, DefaultSettings()},
		{"a number with an exponent", `{"max-total-size": 5e10}`, with(func(s *Settings) { s.Limits.TotalSize = 50 * gb })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseSettings([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseSettingsRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		says       []string // parts of the error
	}{
		{"empty", "", []string{"empty", "{}"}},
		{"white space", " \n", []string{"empty"}},
		{"truncated", `{"max-volumes": 6`, []string{"not a JSON object"}},
		{"truncated in a key", `{"max-vol`, []string{"not a JSON object"}},
		{"truncated after a comma", `{"max-volumes": 6,`, []string{"not a JSON object"}},
		{"an array", `[]`, []string{"not a JSON object"}},
		{"a text", `"{}"`, []string{"not a JSON object"}},
		{"null", `null`, []string{"not a JSON object"}},
		{"garbage behind", `{} x`, []string{"behind its last brace"}},
		{"another object behind", `{}{}`, []string{"behind its last brace"}},
		{"garbage", "\x00\x01", []string{"not a JSON object"}},
		{"a byte order mark", "\ufeff{}", []string{"not a JSON object"}},
		{"the same key twice", `{"max-volumes": 6, "max-volumes": 7}`, []string{"max-volumes", "twice"}},
		{"an unknown key twice", `{"x": 6, "x": 6}`, []string{`"x"`, "twice"}},
		{"a key of ceph twice", `{"ceph": {"pool": "a", "pool": "b"}}`, []string{"pool", "twice"}},
		{"deep", `{"x": ` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}", []string{"not a JSON object"}},
		{"too long", `{"x": "` + strings.Repeat("y", MaxSettings) + `"}`, []string{"1048576 bytes"}},

		{"volumes negative", `{"max-volumes": -1}`, []string{"max-volumes", "-1", "from 0"}},
		{"volumes a fraction", `{"max-volumes": 1.5}`, []string{"max-volumes", "1.5", "whole number"}},
		{"volumes absurd", `{"max-volumes": 1e30}`, []string{"max-volumes", "1e30"}},
		{"volumes over the end", `{"max-volumes": 1000000001}`, []string{"max-volumes", "1000000000"}},
		{"volumes a bool", `{"max-volumes": true}`, []string{"max-volumes", "true"}},
		{"size negative", `{"max-volume-size": "-3G"}`, []string{"max-volume-size", `"-3G"`, "50G"}},
		{"size a negative number", `{"max-total-size": -1}`, []string{"max-total-size", "-1"}},
		{"size absurd", `{"max-total-size": 1e30}`, []string{"max-total-size", "1e30", "4 EiB"}},
		{"size not a number", `{"max-total-size": "NaN"}`, []string{"max-total-size", "NaN"}},
		{"size infinite", `{"max-total-size": "Inf"}`, []string{"max-total-size", "Inf"}},
		{"size an object", `{"max-total-size": {"a": 1}}`, []string{"max-total-size", `{"a": 1}`}},
		{"size an empty text", `{"reserve": ""}`, []string{"reserve", `""`}},
		{"unknown unit", `{"reserve": "5X"}`, []string{"reserve", `"5X"`}},
		{"a long value is cut", `{"reserve": "` + strings.Repeat("9", 1000) + `"}`, []string{"reserve", "999..."}},
		{"file-system unknown", `{"file-system": "zfs"}`, []string{"file-system", `"zfs"`, `"unique"`}},
		{"file-system a number", `{"file-system": 1}`, []string{"file-system", "1"}},
		{"name empty", `{"name": ""}`, []string{"name", `""`, "control characters"}},
		{"name with a newline", `{"name": "a\nb"}`, []string{"name"}},
		{"name too long", `{"name": "` + strings.Repeat("n", 300) + `"}`, []string{"name", "255"}},
		{"name a number", `{"name": 5}`, []string{"name", "5"}},
		{"retention negative", `{"bin-retention": "-1h"}`, []string{"bin-retention", "-1h", "7d"}},
		{"retention without a unit", `{"bin-retention": 3600}`, []string{"bin-retention", "3600"}},
		{"keep a text", `{"bin-keep": "true"}`, []string{"bin-keep", `"true"`, "true or false"}},
		{"shared a number", `{"shared": 1}`, []string{"shared", "1"}},
		{"ceph a text", `{"ceph": "rbd"}`, []string{"ceph", "not a JSON object"}},
		{"ceph without a pool", `{"ceph": {"user": "a"}}`, []string{"ceph", `"pool"`}},
		{"ceph user a number", `{"ceph": {"pool": "a", "user": 1}}`, []string{"ceph.user", "1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseSettings([]byte(tt.text))
			if !fault.Is(err, fault.PoolUnavailable) {
				t.Fatalf("got %+v, error %v", got, err)
			}
			for _, part := range append(tt.says, SettingsFile) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if !reflect.DeepEqual(got, DefaultSettings()) {
				t.Errorf("with the error came %+v", got)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64 // -1: refused
	}{
		{"0", 0},
		{"1", 1},
		{"1B", 1},
		{"1024", 1024},
		{"007", 7},
		{"50G", 50 * gb},
		{"50Gi", 50 << 30},
		{"50GB", 50 * gb},
		{"50GiB", 50 << 30},
		{"50g", 50 * gb},
		{"50 GiB", 50 << 30},
		{"1K", 1000},
		{"1Ki", 1024},
		{"1M", 1_000_000},
		{"1Mi", 1 << 20},
		{"2T", 2000 * gb},
		{"2Ti", 2 << 40},
		{"3P", 3_000_000 * gb},
		{"3Pi", 3 << 50},
		{"1.5K", 1500},
		{"0.5Ki", 512},
		{"1.0009K", 1000},
		{"0.1", 0},
		{"1e3", 1000},
		{"1e3K", 1_000_000},
		{"2.5E1", 25},
		{"4096Pi", 1 << 62},
		{"4611686018427387904", 1 << 62},
		{"4611686018427387905", -1},
		{"4097Pi", -1},
		{"1e30", -1},
		{"1e99P", -1},
		{"1e999", -1},
		{"1e-3", -1},
		{"", -1},
		{" ", -1},
		{"G", -1},
		{"-1", -1},
		{"+1", -1},
		{"1.", -1},
		{".5", -1},
		{"1,5", -1},
		{"1E", -1},
		{"1iB", -1},
		{"1KK", -1},
		{"0x10", -1},
		{"1_000", -1},
		{"NaN", -1},
		{"Inf", -1},
		{"1/2", -1},
		{"١", -1},
		{"1  G", -1},
		{"1G ", -1},
		{"\x001", -1},
		{strings.Repeat("9", 21), -1},
	}
	for _, tt := range tests {
		got, ok := parseSize(tt.text)
		if !ok {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q is %d, want %d", tt.text, got, tt.want)
		}
	}
}

func TestParseRetention(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"0", 0},
		{"0s", 0},
		{"0d", 0},
		{"24h", day},
		{"7d", 7 * day},
		{"1d12h", 36 * time.Hour},
		{"1.5d", 36 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"100ms", 100 * time.Millisecond},
		{"36500d", 36500 * day},
		{"876000h", 36500 * day},
		{"36500d1s", -1},
		{"36501d", -1},
		{"876001h", -1},
		{"9999999d", -1},
		{"", -1},
		{"d", -1},
		{"7", -1},
		{"-1h", -1},
		{"+1h", -1},
		{"1d-1h", -1},
		{"1d+1h", -1},
		{"1h1d", -1},
		{"1d1d", -1},
		{"NaNd", -1},
		{"1e3d", -1},
		{"Inf", -1},
		{"1d ", -1},
		{"99999999999999h", -1},
	}
	for _, tt := range tests {
		got, ok := parseRetention(tt.text)
		if !ok {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q is %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	tests := []struct {
		n    int64
		want string
	}{
		{0, "0 bytes"},
		{999, "999 bytes"},
		{1000, "1 KB"},
		{1500, "1.5 KB"},
		{1999, "1.99 KB"},
		{50 * gb, "50 GB"},
		{1_234_567_890, "1.23 GB"},
		{1_050_000_000, "1.05 GB"},
		{1 << 62, "4.61 EB"},
		{Unlimited, "9.22 EB"},
		{-5 * gb, "-5 GB"},
		{-Unlimited - 1, "-4.61 EB"},
	}
	for _, tt := range tests {
		if got := formatSize(tt.n); got != tt.want {
			t.Errorf("%d is %q, want %q", tt.n, got, tt.want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"max-volumes": 6, "max-volume-size": "50G", "max-total-size": "200Gi", "file-system": "unique"}`,
		`{"name": "a", "reserve": 1e9, "bin-retention": "1d2h", "bin-keep": true, "shared": false}`,
		`{"ceph": {"pool": "rbd", "user": "admin"}}`, `{"a": 1, "a": 2}`, `{"x": [[[]]]} `, "null", `{"max-total-size": "9223372036854775808"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSettings(data)
		if err != nil {
			if fault.CodeOf(err) != fault.PoolUnavailable || len(err.Error()) > 600 {
				t.Errorf("error %v", err)
			}
			return
		}
		l := s.Limits
		for _, n := range []int64{l.Volumes, l.VolumeSize, l.TotalSize, s.Reserve} {
			if n < 0 || n > maxSize && n != Unlimited {
				t.Errorf("%q gives %+v", data, s)
			}
		}
		if s.BinRetention < 0 || s.BinRetention > maxRetention || s.Reserve == Unlimited || s.Ceph != nil && s.Ceph.Pool == "" {
			t.Errorf("%q gives %+v", data, s)
		}
	})
}
