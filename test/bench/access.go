package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	askRate   = 2000 // requests a second
	askTime   = 4 * time.Second
	askRounds = 5

	idleConns = 10_000
	slowConns = 1_000
)

const someone = "ffffffffffffffffffffffffffffffff"

// accessCost measures what it costs to ask who a caller is: the processor time of one /info at a steady rate, by turns
// without access control and with it; and how long others wait while very many connections do nothing, or little.
func accessCost(ctx context.Context, env environment) (rows []row, err error) {
	sides := make([]*side, 2)
	for i := range sides {
		if sides[i], err = newSide(ctx, env, i == 1); err != nil {
			return nil, err
		}
		defer sides[i].server.stop()
	}
	var costs [2][]time.Duration
	for round := range askRounds + 1 { // the first warms up
		for i, s := range sides {
			cost, _, err := s.ask(ctx, askTime)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				costs[i] = append(costs[i], cost)
			}
		}
	}
	open, asked := quantile(costs[0], 0.5), quantile(costs[1], 0.5)
	ratio := float64(asked) / float64(open)
	rows = append(rows, row{
		what: fmt.Sprintf("CPU of one /info at %d a second, with access control", askRate), ours: asked.Round(100 * time.Nanosecond).String(),
		peer: open.Round(100*time.Nanosecond).String() + " without", ratio: fmt.Sprintf("%.2f", ratio), goal: "< 1.15", missed: ratio >= 1.15,
	})
	end, err := sides[1].crowd(ctx)
	defer end()
	if err != nil {
		return rows, err
	}
	_, times, err := sides[1].ask(ctx, 2*askTime)
	if err != nil {
		return rows, err
	}
	p99 := quantile(times, 0.99)
	return append(rows, row{
		what: fmt.Sprintf("p99 of /info beside %d idle and %d slow connections", idleConns, slowConns), ours: p99.Round(10 * time.Microsecond).String(),
		goal: "< 20 ms", missed: p99 >= 20*time.Millisecond,
	}), nil
}

// side is a server, open or guarded, with a volume to ask for.
type side struct {
	server *server
	token  string
	body   []byte
	web    *http.Client
}

func newSide(ctx context.Context, env environment, guarded bool) (*side, error) {
	root := filepath.Join(env.dir, "access-"+strconv.FormatBool(guarded))
	if err := os.MkdirAll(filepath.Join(root, "pool"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(root, "pool", "settings.json"), []byte("{}"), 0o644); err != nil {
		return nil, err
	}
	s := &side{web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	var args []string
	if guarded {
		create := exec.CommandContext(ctx, env.bin, "token", "create", "bench", "--identity", someone, "--state", filepath.Join(root, ".elstore"), "-q")
		out, err := create.Output()
		if err != nil {
			return nil, fmt.Errorf("token create: %w", err)
		}
		s.token, args = strings.TrimSpace(string(out)), []string{"--access-control"}
	}
	var err error
	if s.server, err = startServer(ctx, env, root, args...); err != nil {
		return nil, err
	}
	answer, _, err := s.post(ctx, "/create", []byte(`{"creatorID": "`+someone+`", "name": "n", "size": 1}`))
	var made struct{ Vid string }
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil {
		s.server.stop()
		return nil, err
	}
	s.body = []byte(`{"volume_id": "` + made.Vid + `", "client_uid": "` + someone + `"}`)
	return s, nil
}

func (s *side) post(ctx context.Context, path string, body []byte) ([]byte, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	began := time.Now()
	resp, err := s.web.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, answer)
	}
	return answer, time.Since(began), err
}

// ask asks at the rate for a while, and returns the server's processor time for each request and how long each took.
func (s *side) ask(ctx context.Context, long time.Duration) (cost time.Duration, times []time.Duration, err error) {
	const askers = 16
	before, err := cpuTime(s.server.cmd.Process.Pid)
	if err != nil {
		return 0, nil, err
	}
	each := int(long.Seconds() * askRate / askers)
	took := make([][]time.Duration, askers)
	errs := make([]error, askers)
	began := time.Now()
	var wg sync.WaitGroup
	for a := range askers {
		wg.Go(func() {
			for n := range each {
				// At its own moment, whatever the last took: else a server that stalls would be asked less.
				<-time.After(time.Until(began.Add(time.Duration(n*askers+a) * time.Second / askRate)))
				_, t, err := s.post(ctx, "/info", s.body)
				if err != nil {
					errs[a] = err
					return
				}
				took[a] = append(took[a], t)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, nil, err
	}
	after, err := cpuTime(s.server.cmd.Process.Pid)
	if err != nil {
		return 0, nil, err
	}
	for _, list := range took {
		times = append(times, list...)
	}
	return (after - before) / time.Duration(len(times)), times, nil
}

// cpuTime is the processor time that a process has used, to the 10 ms that the kernel counts in (proc(5), stat).
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// crowd opens connections that do nothing, and some whose request never comes to its end.
func (s *side) crowd(ctx context.Context) (end func(), err error) {
	at, err := url.Parse(s.server.url)
	if err != nil {
		return func() {}, err
	}
	var conns []net.Conn
	end = func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	var dialer net.Dialer
	for n := range idleConns + slowConns {
		conn, err := dialer.DialContext(ctx, "tcp", at.Host)
		if err != nil {
			return end, fmt.Errorf("connection %d: %w", n, err)
		}
		conns = append(conns, conn)
		text := "GET /api/v1.0/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + s.token + "\r\n\r\n" // answered, and kept open
		if n >= idleConns {
			text = "POST /api/v1.0/info HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + s.token + "\r\nContent-Length: 1000\r\n\r\n{"
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return end, err
		}
	}
	return end, nil
}
