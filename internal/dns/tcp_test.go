package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"
)

// Of questions that come in one piece each is answered, whatever comes behind them.
func TestQuestionsThatCameTogetherAreAllAnsweredWhateverEndsTheConnection(t *testing.T) {
	t.Parallel()
	message := func(name string, change func(*mdns.Msg)) []byte {
		m := question(name, mdns.TypeA, 1232)
		change(m)
		msg := packed(t, m)
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	}
	for _, c := range []struct {
		what string
		last []byte
	}{
		{"the client has no more", nil},
		{"no question", message("web.service.rollcall.", func(m *mdns.Msg) { m.Response = true })},
		{"a mistake of ours", message("bad.service.rollcall.", func(*mdns.Msg) {})},
		{"far more than a question has", []byte{0xff, 0xff}},
		{"half a question", []byte{0, 40, 1}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			s := serve(t, Config{Logger: slog.New(slog.DiscardHandler), Sight: func() func(string) bool {
				return func(service string) bool {
					if service == "bad" {
						panic("of a test")
					}
					return true
				}
			}}, view("web", many(40)...), view("bad", many(1)...))
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			var all []byte
			for n := range 20 {
				all = append(all, message("web.service.rollcall.", func(m *mdns.Msg) {
					m.Id = uint16(n)
					if n%5 == 4 { // longer than what a question usually has
						m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_PADDING{Padding: make([]byte, 900*(n/5))}}
					}
				})...)
			}
			if _, err := conn.Write(append(all, c.last...)); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			co := &mdns.Conn{Conn: conn}
			for n := range 20 {
				r, err := co.ReadMsg()
				if err != nil || r.Id != uint16(n) || len(r.Answer) != 40 {
					t.Fatalf("answer %d: %v, %v", n, r, err)
				}
			}
			if r, err := co.ReadMsg(); !errors.Is(err, io.EOF) {
				t.Errorf("afterwards there is %v, %v", r, err)
			}
		})
	}
}

// A connection stays as long as questions come, and ends when none comes for 10 s, or the rest of one does not.
func TestAConnectionEndsWhenItAsksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := prepared(t, Config{}, view("web", many(2)...))
		client, conn := net.Pipe()
		defer client.Close()
		s.conns.add(conn)
		go s.connection(conn)
		co := &mdns.Conn{Conn: client}
		ask := func() error {
			err := co.WriteMsg(question("web.service.rollcall.", mdns.TypeA, 0))
			if err == nil {
				_, err = co.ReadMsg()
			}
			return err
		}
		for range 20 {
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idleTimeout - time.Second/2)
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var err error
		for err == nil { // a byte each second is not yet a question
			time.Sleep(time.Second)
			_, err = client.Write([]byte{1})
		}
		if took := time.Since(began); took < idleTimeout || took > idleTimeout+slack+time.Second {
			t.Errorf("it ends after %v: %v", took, err)
		}
	})
}
