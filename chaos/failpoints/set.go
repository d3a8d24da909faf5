package failpoints

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Set tells a server, which listens for that at addr (see [EnvHTTP]), what is to happen from now on whenever it comes to
// the failpoint of that name: for instance sleep(1000), in milliseconds, panic, or 10%sleep(200).
func Set(ctx context.Context, addr, name, term string) error {
	return ask(ctx, http.MethodPut, addr, name, term)
}

// Clear ends what Set began. That nothing was set is an error.
func Clear(ctx context.Context, addr, name string) error {
	return ask(ctx, http.MethodDelete, addr, name, "")
}

func ask(ctx context.Context, method, addr, name, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+"/"+name, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Close = true // a connection that waits for the next request would wait with a goroutine
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("failpoint %s: %w", name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusNoContent {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("failpoint %s: %s: %s", name, resp.Status, strings.TrimSpace(string(said)))
	}
	return nil
}
