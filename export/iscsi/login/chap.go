package login

import (
	"crypto/md5"  //nolint:gosec // RFC 7143 section 12.1.3 asks for it; Config.NoMD5 turns it off
	"crypto/sha1" //nolint:gosec // IANA's algorithm 6, only for initiators that offer nothing better
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"

	"elstore/export/iscsi/pdu"
)

// The keys of CHAP; section 12.1.3.
const (
	methodCHAP = "CHAP"
	methodNone = "None"

	keyAuthMethod = "AuthMethod"
	keyAlgorithm  = "CHAP_A"
	keyIdentifier = "CHAP_I"
	keyChallenge  = "CHAP_C"
	keyName       = "CHAP_N"
	keyResponse   = "CHAP_R"
)

// Lengths of challenges in bytes. The RFC has 1024 as the most; less than a hash of MD5 would let a challenge
// come twice.
const (
	minChallenge = 16
	maxChallenge = 1024
)

// algorithm is a hash that CHAP may use, by IANA's number among the PPP authentication algorithms.
type algorithm struct {
	number uint64
	new    func() hash.Hash
}

const md5Number = 5

// algorithms are those that are known, the strongest first.
var algorithms = []algorithm{
	{8, func() hash.Hash { return sha3.New256() }},
	{7, sha256.New},
	{6, sha1.New},
	{md5Number, md5.New},
}

// chooseAlgorithm returns the strongest of those offered in CHAP_A.
func chooseAlgorithm(offer string, noMD5 bool) (algorithm, bool) {
	offered := map[uint64]bool{}
	for item := range strings.SplitSeq(offer, ",") {
		if n, ok := pdu.ParseNumber(item); ok {
			offered[n] = true
		}
	}
	if noMD5 {
		delete(offered, md5Number)
	}
	for _, a := range algorithms {
		if offered[a.number] {
			return a, true
		}
	}
	return algorithm{}, false
}

// response is what proves the knowledge of secret; RFC 1994 section 4.1.
func (a algorithm) response(identifier byte, secret Secret, challenge []byte) []byte {
	h := a.new()
	h.Write([]byte{identifier})
	_, _ = io.WriteString(h, secret.Reveal())
	h.Write(challenge)
	return h.Sum(nil)
}

// exchange is one run of CHAP.
type exchange struct {
	algorithm
	identifier byte
	challenge  []byte
}

// newExchange draws an identifier and a challenge.
func newExchange(a algorithm, rand io.Reader) (*exchange, error) {
	random := make([]byte, 1+max(minChallenge, a.new().Size()))
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, err
	}
	return &exchange{a, random[0], random[1:]}, nil
}

// ask are the keys that open the exchange.
func (e *exchange) ask() []pdu.Pair {
	return []pdu.Pair{
		{Key: keyAlgorithm, Value: strconv.FormatUint(e.number, 10)},
		{Key: keyIdentifier, Value: strconv.Itoa(int(e.identifier))},
		{Key: keyChallenge, Value: pdu.FormatBinary(e.challenge)},
	}
}

// answer is what the initiator answers.
type answer struct {
	name       string
	response   []byte
	mutual     bool // it wants a proof too
	identifier byte
	challenge  []byte
}

// What is wrong with answers. The last two are the same to the peer.
var (
	errCHAPKeys      = errors.New("CHAP_N and CHAP_R are to come together, and CHAP_I and CHAP_C with them or not at all")
	errCHAPName      = errors.New("CHAP_N is empty")
	errCHAPResponse  = errors.New("CHAP_R does not have the length that CHAP_A has")
	errCHAPChallenge = errors.New("CHAP_I is not one byte, or CHAP_C not 16 to 1024")
	errCHAPReflected = errors.New("the initiator's CHAP_C is the target's own")
	errCHAPWrong     = errors.New("the CHAP name is not known or the secret is not the one")
	errCHAPNoMutual  = errors.New("the initiator wants a proof of the target, and there is no secret for it")
	errCHAPOneSecret = errors.New("the secrets of the initiator and the target are the same")
)

// parse reads the keys that answer e.
func (e *exchange) parse(keys map[string]string) (a answer, err error) {
	name, hasName := keys[keyName]
	response, hasResponse := keys[keyResponse]
	identifier, hasIdentifier := keys[keyIdentifier]
	challenge, hasChallenge := keys[keyChallenge]
	_, hasAlgorithm := keys[keyAlgorithm]
	if !hasName || !hasResponse || hasIdentifier != hasChallenge || hasAlgorithm {
		return a, errCHAPKeys
	}
	if name == "" {
		return a, errCHAPName
	}
	a.name = name
	var ok bool
	if a.response, ok = pdu.ParseBinary(response, maxChallenge); !ok || len(a.response) != e.new().Size() {
		return a, errCHAPResponse
	}
	if !hasChallenge {
		return a, nil
	}
	number, okNumber := pdu.ParseNumber(identifier)
	a.challenge, ok = pdu.ParseBinary(challenge, maxChallenge)
	if !okNumber || number > 255 || !ok || len(a.challenge) < minChallenge {
		return a, errCHAPChallenge
	}
	if string(a.challenge) == string(e.challenge) {
		return a, errCHAPReflected
	}
	a.mutual, a.identifier = true, byte(number)
	return a, nil
}

// decoy is hashed where there is no secret, so that it takes as long.
var decoy = NewSecret("0123456789abcdef")

// verify decides whether a proves the secret of c, which is the one of a's name only where known. It returns
// the keys that prove the target to the initiator, if that asked for them.
func (e *exchange) verify(a answer, c Credential, known bool) ([]pdu.Pair, error) {
	secret := c.Secret
	if !known || secret.IsZero() {
		secret, known = decoy, false
	}
	right := subtle.ConstantTimeCompare(e.response(e.identifier, secret, e.challenge), a.response) == 1
	switch {
	case !right || !known:
		return nil, errCHAPWrong
	case !a.mutual:
		return nil, nil
	case c.MutualSecret.IsZero():
		return nil, errCHAPNoMutual
	case c.MutualSecret.Equal(c.Secret):
		return nil, errCHAPOneSecret
	}
	return []pdu.Pair{
		{Key: keyName, Value: c.MutualName},
		{Key: keyResponse, Value: pdu.FormatBinary(e.response(a.identifier, c.MutualSecret, a.challenge))},
	}, nil
}
