package login

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestConfigDefaults(t *testing.T) {
	c, err := Config{Authority: newKnown(NoSecurity)}.Check()
	if err != nil {
		t.Fatal(err)
	}
	if c.Rand == nil || c.MaxRecvDataSegmentLength != 262144 || c.MaxBurstLength != 1048576 || c.FirstBurstLength != 262144 ||
		c.MaxOutstandingR2T != 8 || c.ProtocolLevel != 1 || c.CommandWindow != 128 || c.MaxText != 16384 || c.MaxKeys != 128 || c.MaxRounds != 64 {
		t.Errorf("the defaults are %+v", c)
	}
}

func TestConfigCheck(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string // "" where it is right
	}{
		{"no Authority", func(c *Config) { c.Authority = nil }, "Authority"},
		{"the smallest segment", func(c *Config) { c.MaxRecvDataSegmentLength = 512 }, ""},
		{"a segment too small", func(c *Config) { c.MaxRecvDataSegmentLength = 511 }, "MaxRecvDataSegmentLength is 511"},
		{"the largest of all", func(c *Config) {
			c.MaxRecvDataSegmentLength, c.MaxBurstLength, c.FirstBurstLength = 1<<24-1, 1<<24-1, 1<<24-1
		}, ""},
		{"a burst too large", func(c *Config) { c.MaxBurstLength = 1 << 24 }, "MaxBurstLength is 16777216"},
		{"bursts of the RFC's defaults", func(c *Config) { c.MaxBurstLength, c.FirstBurstLength = 262144, 65536 }, ""},
		{"a burst below the default", func(c *Config) { c.MaxBurstLength = 262143 }, "MaxBurstLength is 262143"},
		{"a first burst below the default", func(c *Config) { c.FirstBurstLength = 65535 }, "FirstBurstLength is 65535"},
		{"a first burst over the burst", func(c *Config) { c.MaxBurstLength, c.FirstBurstLength = 262144, 262145 }, "over MaxBurstLength"},
		{"no R2T", func(c *Config) { c.MaxOutstandingR2T = -1 }, "MaxOutstandingR2T"},
		{"no window", func(c *Config) { c.CommandWindow = -1 }, "CommandWindow"},
		{"a protocol that is not there", func(c *Config) { c.ProtocolLevel = 32 }, "ProtocolLevel"},
		{"little text", func(c *Config) { c.MaxText = 8191 }, "MaxText"},
		{"few keys", func(c *Config) { c.MaxKeys = 15 }, "MaxKeys"},
		{"few rounds", func(c *Config) { c.MaxRounds = 7 }, "MaxRounds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Authority: newKnown(NoSecurity)}
			tt.change(&c)
			_, err := c.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestSecretStaysSecret prints one in every way.
func TestSecretStaysSecret(t *testing.T) {
	s := NewSecret(chapSecret)
	c := Credential{Secret: s, MutualSecret: NewSecret(mutualSecret)}
	private := struct{ credential, pointer any }{c, &c}
	hidden := struct{ secret Secret }{s}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", slog.Any("secret", s), slog.Any("credential", c))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", slog.Any("secret", s), slog.Any("credential", c), slog.Any("hidden", hidden))
	encoded, err := json.Marshal(map[string]any{"secret": s, "credential": c})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		s.String(), fmt.Sprint(s), fmt.Sprintf("%s %q %v %+v %#v %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%v %+v", &c, &c),
		fmt.Sprintf("%+v %#v", private, private), fmt.Sprintf("%+v %#v", hidden, hidden), fmt.Sprint(fmt.Errorf("it is %v", s)), string(encoded), log.String(),
	} {
		if strings.Contains(got, "horse") || strings.Contains(got, "staple") || strings.Contains(got, fmt.Sprintf("%x", "horse")) {
			t.Errorf("the secret is in %s", got)
		}
	}
	if s.String() != "[redacted]" || !strings.Contains(string(encoded), `"secret":"[redacted]"`) {
		t.Errorf("it is %s, encoded %s", s, encoded)
	}
	if s.Reveal() != chapSecret || s.IsZero() || !NewSecret("").IsZero() || !(Secret{}).IsZero() || (Secret{}).Reveal() != "" {
		t.Error("it is not what it was made of")
	}
	if !s.Equal(NewSecret(chapSecret)) || s.Equal(NewSecret(mutualSecret)) || s.Equal(Secret{}) || !(Secret{}).Equal(NewSecret("")) {
		t.Error("secrets are not compared by what they are")
	}
}
