package policy

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

// reasonRooms are those that answer with a reason for programs. They do not know one another, and their reasons are one table, docs/api.md's.
var reasonRooms = []string{"internal/grpcapi", "internal/authz"}

func TestTheTableForPeopleIsTheTableOfTheProgram(t *testing.T) {
	written := map[string]bool{} // "CODE REASON"
	for line := range strings.Lines(read(t, "docs/api.md")) {
		cells := strings.Split(line, "|")
		if len(cells) == 7 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			for reason := range strings.SplitSeq(cells[2], ",") {
				written[strings.Trim(cells[1], " `")+" "+strings.Trim(reason, " `")] = true
			}
		}
	}
	returned := map[string]bool{}
	for _, room := range reasonRooms {
		found := reasonsOf(t, room)
		if len(found) < 4 {
			t.Errorf("%s has only the reasons %q: are they written in another way now?", room, found)
		}
		for _, r := range found {
			returned[r] = true
		}
	}
	for r := range returned {
		if !written[r] {
			t.Errorf("docs/api.md lacks %s", r)
		}
	}
	for r := range written {
		if !returned[r] {
			t.Errorf("docs/api.md has %s, which nothing returns", r)
		}
	}
}

func TestNobodyElseMakesReasons(t *testing.T) {
	for _, p := range packages(t) {
		for _, path := range p.sources() {
			made := false
			ast.Inspect(parse(t, path), func(n ast.Node) bool {
				literal, is := n.(*ast.CompositeLit)
				made = made || is && selected(literal.Type) == "ErrorInfo"
				return true
			})
			if made && p.rel() != reasonRooms[0] && p.rel() != reasonRooms[1] {
				t.Errorf("%s answers with reasons of its own, which docs/api.md is not held to", path)
			}
		}
	}
}

var reasonWord = regexp.MustCompile(`^[A-Z][A-Z_]+$`)

// reasonsOf returns every reason in the sources of a package, as "CODE REASON": wherever a code of gRPC stands with a word in capitals behind it,
// be it in a call, in a line of a table or in an assignment.
func reasonsOf(t *testing.T, room string) []string {
	t.Helper()
	var found []string
	note := func(list []ast.Expr) {
		for n, e := range list[:max(0, len(list)-1)] {
			code, known := codeNamed(e)
			if word, is := list[n+1].(*ast.BasicLit); known && is && word.Kind == token.STRING {
				if reason, err := strconv.Unquote(word.Value); err == nil && reasonWord.MatchString(reason) {
					found = append(found, code+" "+reason)
				}
			}
		}
	}
	for _, p := range packages(t) {
		if p.rel() != room {
			continue
		}
		for _, path := range p.sources() {
			ast.Inspect(parse(t, path), func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					note(n.Args)
				case *ast.CompositeLit:
					note(n.Elts)
				case *ast.AssignStmt:
					note(n.Rhs)
				case *ast.ReturnStmt:
					note(n.Results)
				}
				return true
			})
		}
	}
	return found
}

// codeNamed returns what codes.DeadlineExceeded is called over the wire, DEADLINE_EXCEEDED.
func codeNamed(e ast.Expr) (string, bool) {
	s, is := e.(*ast.SelectorExpr)
	if !is {
		return "", false
	}
	if room, is := s.X.(*ast.Ident); !is || room.Name != "codes" {
		return "", false
	}
	if s.Sel.Name == codes.Canceled.String() {
		return "CANCELLED", true // as the protocol spells it
	}
	return strings.ToUpper(regexp.MustCompile(`(.)([A-Z])`).ReplaceAllString(s.Sel.Name, "${1}_$2")), true
}

func selected(e ast.Expr) string {
	if s, is := e.(*ast.SelectorExpr); is {
		return s.Sel.Name
	}
	return ""
}
