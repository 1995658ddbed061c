package pdu

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseText(t *testing.T) {
	long := strings.Repeat("x", MaxValueLength)
	tests := []struct {
		name, text string
		want       []Pair
		err        error
	}{
		{"nothing", "", nil, nil},
		{"one", "A=b\x00", []Pair{{"A", "b"}}, nil},
		{"more", "HeaderDigest=None\x00X-com.example=1,2\x00", []Pair{{"HeaderDigest", "None"}, {"X-com.example", "1,2"}}, nil},
		{"an empty value", "SendTargets=\x00", []Pair{{"SendTargets", ""}}, nil},
		{"an equals sign in the value", "A=b=c\x00", []Pair{{"A", "b=c"}}, nil},
		{"the same twice", "A=b\x00A=c\x00", []Pair{{"A", "b"}, {"A", "c"}}, nil},
		{"null bytes between and after", "A=b\x00\x00\x00B=c\x00\x00", []Pair{{"A", "b"}, {"B", "c"}}, nil},
		{"null bytes alone", "\x00\x00\x00", nil, nil},
		{"every character of a name", "X#aZ09.-+@_=1\x00", []Pair{{"X#aZ09.-+@_", "1"}}, nil},
		{"a small letter first", "iSCSIProtocolLevel=1\x00", []Pair{{"iSCSIProtocolLevel", "1"}}, nil},
		{"the longest name", strings.Repeat("K", 63) + "=\x00", []Pair{{strings.Repeat("K", 63), ""}}, nil},
		{"the longest value", "A=" + long + "\x00", []Pair{{"A", long}}, nil},
		{"a list of longest values", "A=" + long + "," + long + "\x00", []Pair{{"A", long + "," + long}}, nil},
		{"the longest encoded value", "A=0x" + strings.Repeat("a", 8190) + "\x00", []Pair{{"A", "0x" + strings.Repeat("a", 8190)}}, nil},
		{"as many as there may be", "A=1\x00B=2\x00C=3\x00", []Pair{{"A", "1"}, {"B", "2"}, {"C", "3"}}, nil},

		{"no null byte", "A=b", nil, ErrTextEnd},
		{"no null byte after the last", "A=b\x00B=c", nil, ErrTextEnd},
		{"no equals sign", "A\x00", nil, ErrTextEquals},
		{"no name", "=b\x00", nil, ErrKeyName},
		{"a name of 64 bytes", strings.Repeat("K", 64) + "=\x00", nil, ErrKeyName},
		{"a digit first", "1A=b\x00", nil, ErrKeyName},
		{"a hyphen first", "-A=b\x00", nil, ErrKeyName},
		{"a blank in the name", "A B=c\x00", nil, ErrKeyName},
		{"a comma in the name", "A,B=c\x00", nil, ErrKeyName},
		{"another alphabet", "Ä=c\x00", nil, ErrKeyName},
		{"a long value", "A=" + long + "x\x00", nil, ErrValueLength},
		{"a long value in a list", "A=b," + long + "x\x00", nil, ErrValueLength},
		{"a list that is too long", "A=" + strings.Repeat("b,", 4096) + "b\x00", nil, ErrValueLength},
		{"an encoded value that is too long", "A=0b" + strings.Repeat("a", 8191) + "\x00", nil, ErrValueLength},
		{"more than there may be", "A=1\x00B=2\x00C=3\x00D=4\x00", nil, ErrTooManyKeys},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseText([]byte(tt.text), 3)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			var again []byte
			for _, p := range got {
				again = AppendPair(again, p.Key, p.Value)
			}
			if twice, err := ParseText(again, 3); err != nil || !slices.Equal(twice, got) {
				t.Errorf("again %q, %v", twice, err)
			}
		})
	}
}

func TestParseNumber(t *testing.T) {
	tests := []struct {
		text string
		want uint64
		ok   bool
	}{
		{"0", 0, true},
		{"1", 1, true},
		{"262144", 262144, true},
		{"18446744073709551615", 1<<64 - 1, true},
		{"0x0", 0, true},
		{"0x00ff", 255, true},
		{"0XfF", 255, true},
		{"0xffffffffffffffff", 1<<64 - 1, true},
		{"", 0, false},
		{"00", 0, false},
		{"010", 0, false},
		{"0x", 0, false},
		{"0x-1", 0, false},
		{"0b01", 0, false},
		{"+1", 0, false},
		{"-1", 0, false},
		{"1 ", 0, false},
		{" 1", 0, false},
		{"1_000", 0, false},
		{"1.5", 0, false},
		{"1e3", 0, false},
		{"12k", 0, false},
		{"18446744073709551616", 0, false},
		{"0x10000000000000000", 0, false},
		{"99999999999999999999999999", 0, false},
	}
	for _, tt := range tests {
		got, ok := ParseNumber(tt.text)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("ParseNumber(%q) is %d, %t", tt.text, got, ok)
		}
	}
}

func TestParseBool(t *testing.T) {
	for text, want := range map[string][2]bool{
		"Yes": {true, true}, "No": {false, true}, "yes": {}, "": {}, "1": {}, "Yes,No": {}, "Reject": {},
	} {
		if value, ok := ParseBool(text); value != want[0] || ok != want[1] {
			t.Errorf("ParseBool(%q) is %t, %t", text, value, ok)
		}
	}
	if FormatBool(true) != "Yes" || FormatBool(false) != "No" {
		t.Errorf("formatted as %s and %s", FormatBool(true), FormatBool(false))
	}
}

func TestChoose(t *testing.T) {
	tests := []struct {
		name, offer string
		want        string
		ok          bool
	}{
		{"the only one", "None", "None", true},
		{"the initiator's first", "None,CRC32C", "None", true},
		{"the initiator's first the other way", "CRC32C,None", "CRC32C", true},
		{"the first that is known", "MD4,X-com.example,CRC32C", "CRC32C", true},
		{"none that is known", "MD4", "", false},
		{"nothing", "", "", false},
		{"another case", "none", "", false},
		{"blanks", "MD4, None", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := Choose(tt.offer, "CRC32C", "None"); got != tt.want || ok != tt.ok {
				t.Errorf("chose %q, %t", got, ok)
			}
		})
	}
}

func TestParseBinary(t *testing.T) {
	tests := []struct {
		name, text string
		want       string
		ok         bool
	}{
		{"hexadecimal", "0x00a1FF", "\x00\xa1\xff", true},
		{"hexadecimal, capital", "0Xa1", "\xa1", true},
		{"an odd number of digits", "0xfa1", "\x0f\xa1", true},
		{"one digit", "0x7", "\x07", true},
		{"base64", "0bAKH/", "\x00\xa1\xff", true},
		{"base64, capital", "0BAKH/", "\x00\xa1\xff", true},
		{"base64, padded once", "0bAKE=", "\x00\xa1", true},
		{"base64, padded twice", "0boQ==", "\xa1", true},
		{"base64 without its padding", "0boQ", "\xa1", true},
		{"the longest", "0x" + strings.Repeat("61", 16), strings.Repeat("a", 16), true},
		{"the longest in base64", "0bYWFhYWFhYWFhYWFhYWFhYQ==", strings.Repeat("a", 16), true},

		{"nothing", "", "", false},
		{"no digits", "0x", "", false},
		{"no base64", "0b", "", false},
		{"padding alone", "0b====", "", false},
		{"no prefix", "a1", "", false},
		{"decimal", "161", "", false},
		{"no hexadecimal digit", "0xg1", "", false},
		{"a blank", "0x a1", "", false},
		{"base64 with a line break", "0bAK\nH/", "", false},
		{"base64 with bits too many", "0boR==", "", false},
		{"base64 with too much padding", "0boQ===", "", false},
		{"base64 of URLs", "0bAKH_", "", false},
		{"too long", "0x" + strings.Repeat("61", 17), "", false},
		{"too long in base64", "0bYWFhYWFhYWFhYWFhYWFhYWE=", "", false},
		{"far too long", "0x" + strings.Repeat("0", 9000), "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParseBinary(tt.text, 16)
			if string(got) != tt.want || ok != tt.ok {
				t.Fatalf("parsed % x, %t", got, ok)
			}
			if again, ok := ParseBinary(FormatBinary(got), 16); tt.ok && (!ok || string(again) != tt.want) {
				t.Errorf("again % x, %t", again, ok)
			}
		})
	}
}

func TestParseName(t *testing.T) {
	long := "iqn.2004-10.cloud.elemento:" + strings.Repeat("a", MaxNameLength-27)
	tests := []struct {
		name, text string
		want       Name
		err        error
	}{
		{"ours", "iqn.2004-10.cloud.elemento:01:0123456789abcdef0123456789abcdef", "iqn.2004-10.cloud.elemento:01:0123456789abcdef0123456789abcdef", nil},
		{"Linux", "iqn.1993-08.org.debian:01:a3f2b5e5c7d", "iqn.1993-08.org.debian:01:a3f2b5e5c7d", nil},
		{"Windows, capitals", "iqn.1991-05.com.microsoft:WIN-2K3.Example.COM", "iqn.1991-05.com.microsoft:win-2k3.example.com", nil},
		{"Windows, an underscore", "iqn.1991-05.com.microsoft:my_host", "iqn.1991-05.com.microsoft:my_host", nil},
		{"VMware", "iqn.1998-01.com.vmware:esx1-4b2c0f1e", "iqn.1998-01.com.vmware:esx1-4b2c0f1e", nil},
		{"libiscsi", "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test", "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test", nil},
		{"no string", "iqn.2001-04.com.example", "iqn.2001-04.com.example", nil},
		{"a capital type", "IQN.2001-04.COM.EXAMPLE", "iqn.2001-04.com.example", nil},
		{"letters of another alphabet", "iqn.2001-04.com.example:Größe", "iqn.2001-04.com.example:größe", nil},
		{"EUI", "eui.02004567A425678D", "eui.02004567a425678d", nil},
		{"NAA of 64 bits", "naa.52004567BA64678D", "naa.52004567ba64678d", nil},
		{"NAA of 128 bits", "naa.62004567BA64678D0123456789ABCDEF", "naa.62004567ba64678d0123456789abcdef", nil},
		{"the longest", long, Name(long), nil},

		{"nothing", "", "", ErrNameLength},
		{"too long", long + "a", "", ErrNameLength},
		{"too long in small letters", "iqn.2004-10.com.example:" + strings.Repeat("Ⱥ", 99), "", ErrNameLength},
		{"no type", "disk1", "", ErrNameForm},
		{"another type", "nqn.2014-08.org.nvmexpress:uuid", "", ErrNameForm},
		{"no date", "iqn.com.example:disk", "", ErrNameForm},
		{"month 0", "iqn.2001-00.com.example", "", ErrNameForm},
		{"month 13", "iqn.2001-13.com.example", "", ErrNameForm},
		{"letters in the date", "iqn.2oo1-04.com.example", "", ErrNameForm},
		{"no dot after the date", "iqn.2001-04:disk", "", ErrNameForm},
		{"no authority", "iqn.2001-04.", "", ErrNameForm},
		{"no authority but a string", "iqn.2001-04.:disk", "", ErrNameForm},
		{"an authority that begins with a dot", "iqn.2001-04..com", "", ErrNameForm},
		{"a short EUI", "eui.02004567A425678", "", ErrNameForm},
		{"an EUI of 128 bits", "eui.62004567BA64678D0123456789ABCDEF", "", ErrNameForm},
		{"an EUI that is no number", "eui.02004567A425678G", "", ErrNameForm},
		{"a NAA of 96 bits", "naa.52004567BA64678D01234567", "", ErrNameForm},
		{"a blank", "iqn.2001-04.com.example:a b", "", ErrNameChar},
		{"a slash", "iqn.2001-04.com.example:a/b", "", ErrNameChar},
		{"a comma", "iqn.2001-04.com.example:a,b", "", ErrNameChar},
		{"a null byte", "iqn.2001-04.com.example:a\x00", "", ErrNameChar},
		{"a line break", "iqn.2001-04.com.example:a\n", "", ErrNameChar},
		{"a symbol", "iqn.2001-04.com.example:a☃", "", ErrNameChar},
		{"no UTF-8", "iqn.2001-04.com.example:\xff", "", ErrNameChar},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseName(tt.text)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("parsed %q, %v", got, err)
			}
		})
	}
}
