package dns

import (
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
	"pgregory.net/rapid"
)

// text writes labels as people do.
func text(labels []byte) string {
	var list []string
	for len(labels) > 0 && labels[0] > 0 {
		list = append(list, string(labels[1:1+labels[0]]))
		labels = labels[1+labels[0]:]
	}
	return strings.Join(list, ".")
}

func TestEachValueHasTheNameThatTheDocumentationSays(t *testing.T) {
	for value, want := range map[string]string{
		"web":                "web",
		"web-1":              "web-1",
		"helloworld.Greeter": "helloworld.x--greeter",
		"OrderService":       "x--order--service",
		"my_service":         "my--1service",
		"a--b":               "a--0--0b",
		"a-B":                "a--0--b",
		"a..b":               "a--2--2b",
		"a...b.c":            "a--2--2--2b.c",
		"a.zone":             "a.x--3zone",
		"version":            "x--3version",
		"Zone":               "x--zone",
		"x":                  "x",
		"x-a":                "x-a",
		"xA":                 "x--978--a",
		"x_a":                "x--978--1a",
		"_a":                 "x--1a",
		"-":                  "x--0",
		".":                  "x--2",
		"a.":                 "a--2",
		"größe":              "gr--9c3--9b6--9c3--99fe",
		"xn--a":              "xn--0--0a",
		"service":            "service",
		"1.2.3":              "1.2.3",
		"v1.2.3+build":       "v1.2.3--92bbuild",
	} {
		labels, ok := appendValue(nil, value)
		if got := text(labels); got != want || !ok {
			t.Errorf("%q is %q, want %q (%v)", value, got, want, ok)
		}
	}
	for name, want := range map[string]string{"http": "_http", "grpc": "_x--3grpc", "admin.http": "_admin--2http", "Admin": "_x--admin", "zone": "_zone", "grpc_config": "_grpc--1config"} {
		label, ok := appendPort(nil, name)
		if got := text(label); got != want || !ok {
			t.Errorf("the port %q is %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsTooLongForDNSHasNoName(t *testing.T) {
	for _, value := range []string{strings.Repeat("a", 64), strings.Repeat("A", 21), strings.Repeat("a.", 126) + "aaa", ""} {
		if labels, ok := appendValue(nil, value); ok {
			t.Errorf("%q has the name %q", value, text(labels))
		}
	}
	if _, ok := appendValue(nil, strings.Repeat("a", 63)); !ok {
		t.Error("a label of 63 bytes is refused")
	}
	if _, ok := appendPort(nil, strings.Repeat("a", 63)); ok {
		t.Error("a port's label of 64 bytes is not refused")
	}
}

// meaning reads labels back, by the rules as docs/dns.md has them and not by the code: that there is one reading is what makes names of
// different values different.
func meaning(t interface{ Fatalf(string, ...any) }, name string) string {
	var values []string
	for label := range strings.SplitSeq(name, ".") {
		var b strings.Builder
		if strings.HasPrefix(label, "x--") {
			label = label[1:]
		}
		for label != "" {
			rest, escaped := strings.CutPrefix(label, "--")
			if !escaped {
				b.WriteByte(label[0])
				label = label[1:]
				continue
			}
			switch c := rest[0]; {
			case c >= 'a' && c <= 'z':
				b.WriteByte(c - 'a' + 'A')
			case c == '0':
				b.WriteByte('-')
			case c == '1':
				b.WriteByte('_')
			case c == '2':
				b.WriteByte('.')
			case c == '3':
			case c == '9':
				b.WriteByte(byte(strings.IndexByte(lowerHex, rest[1])<<4 | strings.IndexByte(lowerHex, rest[2])))
				rest = rest[2:]
			default:
				t.Fatalf("an escape that there is not: %q", name)
			}
			label = rest[1:]
		}
		values = append(values, b.String())
	}
	return strings.Join(values, ".")
}

func checkName(t interface{ Fatalf(string, ...any) }, value string) {
	labels, ok := appendValue(nil, value)
	if !ok {
		return
	}
	name := text(labels)
	if got := meaning(t, name); got != value {
		t.Fatalf("%q is named %q, which reads %q", value, name, got)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == labelZone || label == labelVersion || label == "" || len(label) > maxLabel {
			t.Fatalf("%q is named %q, in which a label is empty, too long, or ours", value, name)
		}
		if first, last := label[0], label[len(label)-1]; first == '-' || last == '-' {
			t.Fatalf("%q is named %q, in which a label begins or ends with -", value, name)
		}
		if i := strings.IndexFunc(label, func(r rune) bool { return r != '-' && (r > 'z' || !plain(byte(r))) }); i >= 0 {
			t.Fatalf("%q is named %q, which has more than a-z 0-9 -", value, name)
		}
	}
	if _, ok := mdns.IsDomainName(name); !ok {
		t.Fatalf("%q is named %q, which is no name", value, name)
	}
}

func TestNoTwoValuesHaveTheSameName(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "x", "X", "-", "--", ".", "_", "A", "0", "9", "zone", "version", "Zone", "ü", "x--a", "--0", "3", "\x00"})
	rapid.Check(t, func(t *rapid.T) {
		value := strings.Join(rapid.SliceOfN(piece, 1, 8).Draw(t, "value"), "")
		checkName(t, value)
		port, ok := appendPort(nil, value)
		if got := meaning(t, text(port)[1:]); ok && got != value {
			t.Fatalf("the port %q is named %q, which reads %q", value, text(port), got)
		}
		if ok && text(port) == "_grpc" {
			t.Fatalf("the port %q has the main address's name", value)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, value := range []string{"web", "helloworld.Greeter", "x--a", "x_a", "xA", "a..b", "zone", "\xff", "-.-", "9.hh"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) { checkName(t, value) })
}

func TestAnInstancesLabelIsReadAsItWasWritten(t *testing.T) {
	seen := map[string]bool{}
	for _, service := range []string{"web", "api", "w"} {
		for _, id := range []string{"a", "b", "10.0.0.1:80"} {
			label := appendID(nil, serviceID(service), idOf(service, id, ""))
			of, own, ok := parseID(label[1:])
			if !ok || of != serviceID(service) || own != idOf(service, id, "") || seen[string(label)] {
				t.Errorf("%s/%s is %q, which reads %x %x %v", service, id, label, of, own, ok)
			}
			seen[string(label)] = true
		}
	}
	for _, label := range []string{"", "a", "aaaaaaaaaaaaaaa1", "AAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaaaa"} {
		if _, _, ok := parseID([]byte(label)); ok {
			t.Errorf("%q is taken for an instance's label", label)
		}
	}
}

// All servers, of all versions, have to use the same labels.
func TestAnInstancesLabelNeverChanges(t *testing.T) {
	s := serve(t, Config{}, view("web", at("10.0.0.1:80")))
	const name = "ppe5couoeljqp53z.instance.rollcall."
	if got := lines(s.get(name, mdns.TypeA).Answer); len(got) != 1 || got[0] != name+" 5 IN A 10.0.0.1" {
		t.Errorf("got %q", got)
	}
}
