package client

import "context"

// Metrics returns the server's numbers in the text format of Prometheus.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	cl := get("/metrics")
	cl.top = true
	a, err := c.roundTrip(ctx, cl)
	if err != nil {
		return nil, err
	}
	return a.body, nil
}
