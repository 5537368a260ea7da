package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// client speaks to one space of the cloud.
type client struct{ base, token string }

// orders are cloud.Orders of the product's module: what is to go wrong.
type orders struct {
	Fail, FailAfter           string
	PrintMiB, WarnMiB, EatMiB int
}

var errNotFound = errors.New("not found")

// begin tells the cloud about an operation, and hangs for as long as the cloud wants it to. That Terraform asks it to
// stop doesn't help: the worst provider doesn't listen.
func (c client) begin(ctx context.Context, op string) (orders, error) {
	var o orders
	err := c.call(context.WithoutCancel(ctx), http.MethodPost, "/operations/"+op, "", &o)
	return o, err
}

func (c client) get(ctx context.Context, name string) (string, error) {
	var value string
	err := c.call(ctx, http.MethodGet, "/things/"+url.PathEscape(name), "", &value)
	return value, err
}

func (c client) create(ctx context.Context, name, value string) error {
	return c.call(ctx, http.MethodPost, "/things/"+url.PathEscape(name), value, nil)
}

func (c client) put(ctx context.Context, name, value string) error {
	return c.call(ctx, http.MethodPut, "/things/"+url.PathEscape(name), value, nil)
}

func (c client) remove(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/things/"+url.PathEscape(name), "", nil)
}

func (c client) call(ctx context.Context, method, path, body string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNotFound
	case http.StatusConflict:
		return fmt.Errorf("a resource with the ID %q already exists - to be managed via Terraform this resource needs "+
			"to be imported into the State", path)
	default:
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(answer)
}
