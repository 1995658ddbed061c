package nbd

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume/nbdwire"
)

// counted is a Device that counts what is written.
type counted struct {
	Device
	writes atomic.Int32
}

func (d *counted) Size() int64 { return 1 << 20 }

func (d *counted) WriteAt(p []byte, _ int64) (int, error) {
	d.writes.Add(1)
	return len(p), nil
}

// A write that waits for its time is made where its client said goodbye, and not where it went without a word: it makes that again on
// another connection, and may have written something else there by then.
func TestWhatWaitsWhenTheClientGoes(t *testing.T) {
	for name, polite := range map[string]bool{"goodbye": true, "without a word": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				d := &counted{}
				served := make(chan error, 1)
				go func() {
					served <- Serve(t.Context(), theirs, Export{Name: "x", Device: d, Pace: func(ctx context.Context, _ Kind, _ int) error {
						select {
						case <-time.After(time.Minute):
							return nil
						case <-ctx.Done():
							return context.Cause(ctx)
						}
					}})
				}()
				read := func(n int) {
					if _, err := io.ReadFull(ours, make([]byte, n)); err != nil {
						t.Fatal(err)
					}
				}
				write := func(b []byte) {
					if _, err := ours.Write(b); err != nil {
						t.Fatal(err)
					}
				}
				read(18)
				write(append([]byte{0, 0, 0, 3}, "IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"...))
				read(10)
				request := func(command nbdwire.Command, length uint32) []byte {
					b := binary.BigEndian.AppendUint32(nil, nbdwire.RequestMagic)
					b = binary.BigEndian.AppendUint32(b, uint32(command))
					b = append(b, make([]byte, 16)...)
					return binary.BigEndian.AppendUint32(b, length)
				}
				write(append(request(nbdwire.CmdWrite, 512), make([]byte, 512)...))
				synctest.Wait()
				want := int32(0)
				if polite {
					want = 1
					write(request(nbdwire.CmdDisconnect, 0))
					read(16)
				}
				ours.Close()
				if err := <-served; err != nil {
					t.Error(err)
				}
				if got := d.writes.Load(); got != want {
					t.Errorf("%d writes were made, want %d", got, want)
				}
			})
		})
	}
}
