package main

import (
	"context"

	"elstore/api/access"
	"elstore/api/client"
	"elstore/volume"
)

// tokenStore makes, lists and revokes tokens: a server does, or we in the state directory of one that doesn't run.
type tokenStore interface {
	CreateToken(ctx context.Context, n client.NewToken) (client.Token, error)
	Tokens(ctx context.Context) ([]client.Token, error)
	RevokeToken(ctx context.Context, id string) error
}

// tokens returns the server's tokens, or those in a state directory, which is ours until end is called.
func (c *cli) tokens(ctx context.Context, dir string) (store tokenStore, end func(), err error) {
	if dir == "" {
		cl, err := c.connect()
		return cl, func() {}, err
	}
	st, err := openState(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := access.OpenTokens(st.root)
	if err != nil {
		st.close()
		return nil, nil, err
	}
	return &localTokens{tokens}, st.close, nil
}

// localTokens are those in a state directory.
type localTokens struct{ store *access.Tokens }

func (l *localTokens) CreateToken(_ context.Context, n client.NewToken) (client.Token, error) {
	role, err := access.ParseRole(n.Role)
	if err != nil {
		return client.Token{}, err
	}
	t := access.Token{Name: n.Name, Role: role, Paths: n.Paths, Pools: n.Pools, Rate: n.Rate}
	if n.Identity != "" {
		if t.Identity, err = volume.ParseClient(n.Identity); err != nil {
			return client.Token{}, err
		}
	}
	if n.Expires != nil {
		t.Expires = n.Expires.UTC()
	}
	made, text, err := l.store.Create(t)
	if err != nil {
		return client.Token{}, err
	}
	out := tokenOf(&made)
	out.Text = text
	return out, nil
}

func (l *localTokens) Tokens(context.Context) ([]client.Token, error) {
	list := []client.Token{}
	for _, t := range l.store.List() {
		list = append(list, tokenOf(&t))
	}
	return list, nil
}

func (l *localTokens) RevokeToken(_ context.Context, id string) error { return l.store.Revoke(id) }

// tokenOf is a token as a server would tell it.
func tokenOf(t *access.Token) client.Token {
	out := client.Token{ID: t.ID, Name: t.Name, Role: t.Role.String(), Created: t.Created, Paths: t.Paths, Pools: t.Pools, Rate: t.Rate}
	if !t.Identity.IsZero() {
		out.Identity = t.Identity.String()
	}
	if !t.Expires.IsZero() {
		out.Expires = &t.Expires
	}
	return out
}
