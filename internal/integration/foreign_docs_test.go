package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocks returns the code in the API's documentation that is in a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	return found
}

func TestTheProgramsInTheDocumentationAreThoseThatAreTested(t *testing.T) {
	t.Parallel()
	for language, name := range map[string]string{"python": "register.py", "js": "register.js"} {
		program, err := os.ReadFile(filepath.Join("testdata/foreign", name))
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "the programs in "+language, blocks(t, language), []string{string(program)})
	}
}

func TestTheCommandsInTheDocumentationWork(t *testing.T) {
	t.Parallel()
	paths := []string{os.Getenv("PATH")}
	for _, name := range []string{"curl", "grpcurl", "timeout"} {
		paths = append(paths, filepath.Dir(programOf(t, name)))
	}
	_, etcd := start(t)
	s := serveProcess(t, etcd)
	var told []string
	for _, block := range blocks(t, "sh") {
		told = append(told, runBlock(t, s, strings.Join(paths, string(filepath.ListSeparator)), block))
	}
	if len(told) != 2 {
		t.Fatalf("the documentation has %d blocks of commands, want curl's and grpcurl's", len(told))
	}
	for i, want := range [][]string{
		{`"heartbeatInterval":"20s"`, `"zone":"a"`, "event: snapshot", "{}"},
		{"rollcall.v1.DiscoveryService", "rpc Register", `"token": "`, `"snapshot": true`},
	} {
		for _, part := range want {
			if !strings.Contains(told[i], part) {
				t.Errorf("the commands do not say %s, but:\n%s", part, told[i])
			}
		}
	}
}

// runBlock runs commands as they stand, but with the server of the test, and with an end of those that have none.
func runBlock(t *testing.T, s *serverProcess, path, block string) string {
	t.Helper()
	endless := regexp.MustCompile(`(?m)^(curl -sN .*|grpcurl .*/Watch)$`)
	block = endless.ReplaceAllString(block, "timeout 2 $1 || test $$? = 124")
	block = strings.NewReplacer("127.0.0.1:7051", s.grpc, "127.0.0.1:7052", s.http).Replace(block)
	cmd := exec.CommandContext(within(t, processPatience), "sh", "-eu", "-c", block)
	cmd.Env = append(os.Environ(), fmt.Sprintf("PATH=%s", path))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v, after\n%s\nof\n%s", err, out, block)
	}
	return strings.ReplaceAll(string(out), ", ", ",") // how wide JSON is, nobody promises
}
