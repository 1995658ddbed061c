package pdu

import (
	"net"
	"testing"
)

func TestPeek(t *testing.T) {
	ours, theirs := tcpPair(t)
	p := NewPeek(ours)
	if p.Some() {
		t.Error("something is there before anybody wrote")
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for !p.Some() { // until it has come
	}
	if !p.Some() {
		t.Error("to look takes it away")
	}
	if _, err := ours.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if p.Some() {
		t.Error("something is there after it was read")
	}
	ours.Close()
	if p.Some() {
		t.Error("something is there after the connection was closed")
	}
}

func TestPeekWithoutDescriptor(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	if NewPeek(ours).Some() {
		t.Error("a pipe without a descriptor has something to be read")
	}
}

func TestHungUp(t *testing.T) {
	ours, theirs := tcpPair(t)
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if HungUp(ours) {
		t.Error("a peer that lives has hung up")
	}
	theirs.Close()
	for !HungUp(ours) { // also while there is something left to read
	}
	ours.Close()
	if HungUp(ours) {
		t.Error("of a connection that was closed here it knows")
	}
	pipe, other := net.Pipe()
	other.Close()
	defer pipe.Close()
	if HungUp(pipe) {
		t.Error("of a pipe it knows")
	}
}
