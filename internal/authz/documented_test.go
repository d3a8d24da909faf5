package authz

import (
	"os"
	"regexp"
	"testing"
)

func TestTheRulesInTheDocumentAreRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(# rules.yaml.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/security.md shows no rules")
	}
	r := mustParse(t, string(block[1]))
	shop := named("spiffe://example.org/ns/prod/svc/shop", "10.0.0.1:1")
	if !r.decide(shop, ask{verb: register, service: "shop", addrs: []string{"10.0.0.1:80"}}).allowed || r.decide(shop, ask{verb: register, service: "cart", addrs: []string{"10.0.0.1:80"}}).allowed {
		t.Error("they do not let what the document says")
	}
}
