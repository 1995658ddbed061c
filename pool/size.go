package pool

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxSize is the largest size that settings.json may name, in bytes: 4 EiB, so that sums of a few don't overflow.
const maxSize = 1 << 62

// maxVolumes is the largest max-volumes.
const maxVolumes = 1_000_000_000

// maxRetention is the longest bin-retention: a hundred years.
const maxRetention = 36500 * 24 * time.Hour

var (
	// The exponent is that of JSON numbers, and so short that no number gets long.
	sizePattern = regexp.MustCompile(`^([0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE]\+?[0-9]{1,2})?) ?(?:([KMGTPkmgtp])([iI])?)?[bB]?$`)
	daysPattern = regexp.MustCompile(`^([0-9]{1,6}(?:\.[0-9]{1,6})?)d(.*)$`)
)

// parseSize reads 50G (50·10^9), 50Gi (50·2^30), 1.5TB or 1024, the same with a B behind it, of either case. A
// fraction of a byte is cut off. ok is false for anything else, and over maxSize.
func parseSize(text string) (size int64, ok bool) {
	m := sizePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, ok := new(big.Rat).SetString(m[1])
	if !ok {
		return 0, false
	}
	power := int64(strings.Index("KMGTP", strings.ToUpper(m[2])) + 1)
	if m[2] == "" {
		power = 0
	}
	unit := big.NewInt(1000)
	if m[3] != "" {
		unit.SetInt64(1024)
	}
	n.Mul(n, new(big.Rat).SetInt(unit.Exp(unit, big.NewInt(power), nil)))
	whole := new(big.Int).Quo(n.Num(), n.Denom())
	if whole.Cmp(big.NewInt(maxSize)) > 0 {
		return 0, false
	}
	return whole.Int64(), true
}

// parseRetention reads a duration of Go's, which may begin with days: 24h, 7d, 1d12h, 0s. ok is false for
// anything else, for a negative one and over maxRetention.
func parseRetention(text string) (d time.Duration, ok bool) {
	var days float64
	rest := text
	if m := daysPattern.FindStringSubmatch(text); m != nil {
		days, _ = strconv.ParseFloat(m[1], 64) // the pattern lets only numbers through
		rest = m[2]
	}
	if rest != "" || text == "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil || d < 0 || strings.ContainsAny(rest, "+-") {
			return 0, false
		}
	}
	if days > maxRetention.Hours()/24 || d > maxRetention {
		return 0, false
	}
	d += time.Duration(days * 24 * float64(time.Hour))
	return d, d <= maxRetention
}

// formatSize writes a number of bytes for people: the largest decimal unit that leaves at least 1, with at most
// two decimals, cut off so that it never says more than there is.
func formatSize(n int64) string {
	if n < 0 {
		return "-" + formatSize(-max(n, -maxSize))
	}
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	unit, names := int64(1000), "KMGTPE"
	for n/unit >= 1000 {
		unit *= 1000
		names = names[1:]
	}
	text := strconv.FormatInt(n/unit, 10)
	if hundredths := n % unit / (unit / 100); hundredths > 0 {
		text += strings.TrimRight("."+string([]byte{byte('0' + hundredths/10), byte('0' + hundredths%10)}), "0")
	}
	return text + " " + names[:1] + "B"
}
