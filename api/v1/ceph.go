package v1

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// createOnCeph is create for volumes in format rbd.
func (a *API) createOnCeph(ctx context.Context, req createRequest) (work, error) {
	if f := or(req.Format, volume.RBD); f != volume.RBD {
		return work{}, fault.Errorf(fault.VolumeFormatNotAllowed, "'format' is %q; allowed here is rbd", f)
	}
	format := volume.RBD
	req.Format = &format
	return a.create(ctx, req)
}

type credentialsRequest struct {
	Volume volume.ID     `json:"volume_id" alias:"volumeID,vid" required:"true"`
	Client volume.Client `json:"client_uid" required:"true" caller:"match"`
}

// credentialsAnswer is what a hypervisor needs to open an image on Ceph itself.
type credentialsAnswer struct {
	Volume   volume.ID       `json:"volume_id"`
	Client   volume.Client   `json:"client_uid"`
	Cluster  string          `json:"cluster"`
	Monitors []string        `json:"monitors"`
	Pool     string          `json:"ceph_pool"`
	Image    string          `json:"image"`
	User     string          `json:"user"`
	Key      string          `json:"key"`
	Conf     string          `json:"conf"`
	Keyring  string          `json:"keyring"`
	URI      string          `json:"uri"`
	Object   json.RawMessage `json:"object"`
	Blockdev json.RawMessage `json:"blockdev"`
}

// credentials is no job, and its answer is not remembered: it has a secret, and asking again is the way to have it again.
func (a *API) credentials(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[credentialsRequest](r)
	if err != nil {
		return err
	}
	rest.SetAbout(r.Context(), texts(req.Volume)...)
	if err := a.mayNotSee(r.Context(), req.Volume); err != nil {
		return err
	}
	c, err := a.cfg.Volumes.Direct(context.WithoutCancel(r.Context()), req.Volume, req.Client)
	if err != nil {
		return err
	}
	answer, err := describeAccess(req, &c)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return rest.Reply(w, http.StatusOK, answer)
}

// describeAccess says how QEMU opens the image: with -object and -blockdev alone, or by the URI with the conf and the keyring as
// files. Pure.
func describeAccess(req credentialsRequest, c *volume.DirectAccess) (credentialsAnswer, error) {
	type server struct {
		Host string `json:"host"`
		Port string `json:"port"`
	}
	node := "volume-" + req.Volume.String()[:16]
	answer := credentialsAnswer{
		Volume: req.Volume, Client: req.Client, Cluster: c.Cluster, Monitors: monitors(c.Monitors), Pool: c.Pool, Image: c.Image,
		User: c.User, Key: c.Key,
		Conf:    fmt.Sprintf("[global]\nfsid = %s\nmon_host = %s\n", c.Cluster, c.Monitors),
		Keyring: fmt.Sprintf("[client.%s]\n\tkey = %s\n", c.User, c.Key),
		URI:     fmt.Sprintf("rbd:%s/%s:id=%s:conf=/etc/ceph/%s.conf:keyring=/etc/ceph/%s.keyring", c.Pool, c.Image, c.User, c.Cluster, c.User),
	}
	var servers []server
	for _, m := range answer.Monitors {
		host, port, err := net.SplitHostPort(m)
		if err != nil {
			return answer, fmt.Errorf("monitor %q: %w", m, err)
		}
		servers = append(servers, server{host, port})
	}
	var err error
	answer.Object, err = json.Marshal(map[string]string{"qom-type": "secret", "id": "key-" + node, "data": c.Key, "format": "base64"})
	if err == nil {
		answer.Blockdev, err = json.Marshal(map[string]any{
			"driver": "rbd", "node-name": node, "pool": c.Pool, "image": c.Image, "user": c.User, "server": servers,
			"key-secret": "key-" + node, "auth-client-required": []string{"cephx"},
		})
	}
	return answer, err
}

// monitors reads a mon_host: addresses with commas or spaces between them, of which [v2:host:port,v1:host:port] is several of one
// monitor. It returns one host:port of each. Pure.
func monitors(hosts string) []string {
	list := []string{}
	depth, seen := 0, false
	for _, word := range strings.FieldsFunc(hosts, func(r rune) bool { return r == ',' || r == ' ' || r == ';' }) {
		opens := strings.HasPrefix(word, "[v")
		if opens {
			depth, seen, word = 1, false, word[1:]
		}
		closes := depth > 0 && strings.HasSuffix(word, "]") && (opens || strings.HasPrefix(word, "v"))
		if closes {
			word = strings.TrimSuffix(word, "]")
		}
		if version, rest, ok := strings.Cut(word, ":"); ok && (version == "v1" || version == "v2") {
			word = rest
		}
		word, _, _ = strings.Cut(word, "/") // a nonce
		if _, _, err := net.SplitHostPort(word); err != nil {
			word = net.JoinHostPort(strings.Trim(word, "[]"), "6789")
		}
		if depth == 0 || !seen {
			list = append(list, word)
		}
		seen = depth > 0
		if closes {
			depth, seen = 0, false
		}
	}
	return list
}
