package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const manyInstances = 100

// many registers a hundred instances, and returns their addresses as they are sorted.
func (w *foreignDNS) many(service string) []string {
	w.t.Helper()
	hosts := w.addMany(service, manyInstances, addressOf("10.1.0", 8080))
	slices.Sort(hosts)
	return hosts
}

func TestDigIsToldAPartByUDPAndComesByTCPForAll(t *testing.T) {
	t.Parallel()
	programOf(t, "dig")
	w := startForeignDNS(t)
	all := w.many("big")
	seen := map[string]bool{}
	for range 25 { // of 100 this leaves out 1 or 2
		part := w.dig("big.service.rollcall.", "+ignore", "+bufsize=1232", "+padding=468")
		mustEqual(t, "flags", part.Flags, "qr aa tc rd")
		mustEqual(t, "addresses by UDP", len(part.Answer), 16)
		for _, ip := range data(part.Answer, 0) {
			if seen[ip] = true; !slices.Contains(all, ip) {
				t.Errorf("an address that nobody has: %s", ip)
			}
		}
	}
	if len(seen) < manyInstances*9/10 {
		t.Errorf("25 answers by UDP tell of %d of %d", len(seen), manyInstances)
	}
	whole := w.dig("big.service.rollcall.")
	if !strings.Contains(whole.text, ";; Truncated, retrying in TCP mode.") {
		t.Errorf("dig was not sent to TCP:\n%s", whole.text)
	}
	mustEqual(t, "by", whole.by, "TCP")
	mustEqual(t, "flags", whole.Flags, "qr aa rd")
	mustEqual(t, "addresses by TCP", data(whole.Answer, 0), all)
}

func TestWhatSRVRecordsPointToIsThereToAsk(t *testing.T) {
	t.Parallel()
	programOf(t, "dig")
	w := startForeignDNS(t)
	all := w.many("big")
	servers := w.dig("_grpc._tcp.big.service.rollcall.", "SRV")
	mustEqual(t, "by", servers.by, "TCP")
	mustEqual(t, "addresses that come along", data(servers.Additional, 0), all)
	questions := []string{"+noall", "+answer"}
	for _, target := range data(servers.Answer, 3) {
		questions = append(questions, target, "A")
	}
	var asked []string
	for line := range strings.Lines(run(t, programOf(t, "dig"), append([]string{"-r", "@127.0.0.1", "-p", w.port()}, questions...)...)) {
		asked = append(asked, strings.Join(strings.Fields(strings.Replace(line, "IN", "", 1)), " "))
	}
	slices.Sort(asked)
	mustEqual(t, "what is answered for the targets", asked, servers.Additional)
}

// The padding makes questions so large that nothing but the client's buffer, and our own limit, bounds an answer.
func TestNoAnswerByUDPIsLargerThanTheBufferThatDigHasForIt(t *testing.T) {
	t.Parallel()
	programOf(t, "dig")
	w := startForeignDNS(t)
	w.addMany("six", 40, func(n int) string { return fmt.Sprintf("[2001:db8::%x]:443", n) })
	const padding = "+padding=468"
	for _, c := range []struct {
		args             []string
		least, most      int // bytes
		records, minimum int
	}{
		{[]string{"+bufsize=512", padding}, 412, 512, 16, 4},
		{[]string{"+bufsize=900", padding}, 800, 900, 16, 8},
		{[]string{"+bufsize=1232", padding}, 1132, 1232, 16, 16},
		{[]string{"+bufsize=4096", padding}, 1132, 1232, 16, 16},
		{[]string{"+bufsize=1", padding}, 412, 512, 16, 4}, // less than 512 means 512
		{[]string{"+noedns"}, 100, 5 * len("....six.service.rollcall.............."), 4, 2},
		{[]string{"+bufsize=4096", "+nocookie"}, 100, 300, 4, 2}, // less than five times the question
	} {
		got := w.dig(append([]string{"six.service.rollcall.", "SRV", "+ignore"}, c.args...)...)
		if got.size < c.least || got.size > c.most {
			t.Errorf("%v: %d bytes, want %d to %d", c.args, got.size, c.least, c.most)
		}
		if len(got.Answer) < c.minimum || len(got.Answer) > c.records {
			t.Errorf("%v: %d records, want %d to %d", c.args, len(got.Answer), c.minimum, c.records)
		}
		mustEqual(t, "flags", got.Flags, "qr aa tc rd")
		if strings.Contains(got.text, "EDNS: version: 0") == slices.Contains(c.args, "+noedns") {
			t.Errorf("%v: EDNS is answered by none, or none by EDNS:\n%s", c.args, got.text)
		}
	}
}
