package login

import "elstore/export/iscsi/pdu"

// allTargets is the value of SendTargets that asks for all; appendix C.
const allTargets = "All"

// TargetRecord is what an answer to SendTargets says of one target; appendix C.
type TargetRecord struct {
	Name      pdu.Name
	Addresses []string // TargetAddress values: host:port,tag, IPv6 in brackets; section 13.8
}

// Lister knows what a peer may see.
type Lister interface {
	// ListTargets returns the record of the target name, or of all where name is "", of those that the peer of r may
	// see; nil if there is none.
	ListTargets(r *Result, name pdu.Name) []TargetRecord
}

// AppendTargets appends records as the text of an answer to SendTargets.
func AppendTargets(dst []byte, records []TargetRecord) []byte {
	for _, r := range records {
		dst = pdu.AppendPair(dst, keyTargetName, string(r.Name))
		for _, address := range r.Addresses {
			dst = pdu.AppendPair(dst, keyTargetAddress, address)
		}
	}
	return dst
}

// sendTargets answers SendTargets: a discovery session is told of all or of the one that it names, another only
// of its own, which nothing or the name stand for; appendix C.
func sendTargets(dst []byte, lister Lister, r *Result, value string) []byte {
	name, err := pdu.ParseName(value)
	switch {
	case r.Peer.Discovery && value == allTargets:
		name = ""
	case !r.Peer.Discovery && value == "":
		name = r.Peer.TargetName
	case err != nil, !r.Peer.Discovery && name != r.Peer.TargetName:
		return pdu.AppendPair(dst, keySendTargets, pdu.Rejected)
	}
	return AppendTargets(dst, lister.ListTargets(r, name))
}
