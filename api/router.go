package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"elstore/api/rest"
)

// versions are the paths of the API that is served; they mean the same.
var versions = []string{"/api/v1.0", "/api/v1"}

var served = strings.Join(versions, " and ")

// newRouter routes on the path as it was sent: nothing is cleaned, redirected or decoded before it matches.
func newRouter(config Config) http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.NotFoundHandler = rest.Handler(notFound)
	r.MethodNotAllowedHandler = wrongMethod(r)
	add(r, []string{"/"}, []rest.Route{{Methods: []string{http.MethodGet}, Path: "/", Handler: ping}})
	for _, group := range groupByPath(config.Top) {
		add(r, []string{group[0].Path}, group)
	}
	groups := groupByPath(config.Routes)
	for _, group := range groups {
		var paths []string
		for _, version := range versions {
			paths = append(paths, version+group[0].Path)
			if !strings.HasSuffix(group[0].Path, "...}") {
				paths = append(paths, version+group[0].Path+"/")
			}
		}
		add(r, paths, group)
	}
	if config.Mount != nil {
		mount(r, config.Mount)
	}
	return r
}

// mount adds the routes of other APIs, each under the policy of its path and method.
func mount(r *mux.Router, add func(*mux.Router)) {
	ours := map[*mux.Route]bool{}
	each := func(fn func(route *mux.Route)) {
		_ = r.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error { // it only hands on our errors
			fn(route)
			return nil
		})
	}
	each(func(route *mux.Route) { ours[route] = true })
	add(r)
	each(func(route *mux.Route) {
		if next := route.GetHandler(); next != nil && !ours[route] {
			pattern, err := route.GetPathTemplate()
			if err != nil {
				pattern = "" // one that is told by something else than its path: an operator's
			}
			route.Handler(rest.Handler(func(w http.ResponseWriter, r *http.Request) error {
				notedOf(r.Context()).route = pattern
				if err := allowed(r, pattern); err != nil {
					return err
				}
				next.ServeHTTP(w, r)
				return nil
			}))
		}
	})
}

// groupByPath puts the routes of one path together, and those with fewer variables in their path first, so
// that /jobs/new would not be taken for /jobs/{id}.
func groupByPath(routes []rest.Route) [][]rest.Route {
	var groups [][]rest.Route
	at := make(map[string]int)
	for _, route := range routes {
		i, known := at[route.Path]
		if !known {
			i = len(groups)
			at[route.Path] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], route)
	}
	slices.SortStableFunc(groups, func(a, b []rest.Route) int { return openness(a[0].Path) - openness(b[0].Path) })
	return groups
}

// openness counts a path's variables, one that takes the whole rest for many.
func openness(path string) int {
	return strings.Count(path, "{") + 100*strings.Count(path, "...}")
}

// add serves group, the routes of one path, at each of paths.
func add(r *mux.Router, paths []string, group []rest.Route) {
	pattern := group[0].Path
	methods := make(map[string]rest.Handler)
	for _, route := range group {
		for _, m := range route.Methods {
			if methods[m] != nil || route.Handler == nil {
				panic(fmt.Sprintf("api: %s %s has no one handler", m, pattern))
			}
			methods[m] = route.Handler
		}
	}
	if get := methods[http.MethodGet]; get != nil && methods[http.MethodHead] == nil {
		methods[http.MethodHead] = get
	}
	h := dispatch(pattern, methods)
	for _, path := range paths {
		r.Handle(template(path), h)
	}
}

// template writes a Route's path as gorilla/mux does.
func template(path string) string { return strings.ReplaceAll(path, "...}", ":.+}") }

// dispatch calls the handler of the request's method, with the path's variables as path values: decoded, but
// for one that takes the whole rest, where an encoded slash and a plain one must stay apart.
func dispatch(pattern string, methods map[string]rest.Handler) rest.Handler {
	methodsAllowed := []string{http.MethodOptions}
	for m := range methods {
		methodsAllowed = append(methodsAllowed, m)
	}
	slices.Sort(methodsAllowed)
	return func(w http.ResponseWriter, r *http.Request) error {
		notedOf(r.Context()).route = pattern
		h := methods[r.Method]
		switch {
		case h == nil && r.Method == http.MethodOptions:
			w.Header().Set("Allow", strings.Join(methodsAllowed, ", "))
			return rest.Reply(w, http.StatusNoContent, nil)
		case h == nil:
			return rest.MethodNotAllowed(r.Method, methodsAllowed...)
		}
		if err := allowed(r, pattern); err != nil {
			return err
		}
		for name, value := range mux.Vars(r) {
			if !strings.Contains(pattern, "{"+name+"...}") {
				decoded, err := url.PathUnescape(value)
				if err != nil {
					return notFound(w, r)
				}
				value = decoded
			}
			r.SetPathValue(name, value)
		}
		return h(w, r)
	}
}

// notFound is the error of a path that nothing is at.
func notFound(_ http.ResponseWriter, r *http.Request) error {
	path := r.URL.EscapedPath()
	if below, ok := strings.CutPrefix(path, "/api"); ok && (below == "" || below[0] == '/') {
		version, _, _ := strings.Cut(strings.TrimPrefix(below, "/"), "/")
		if !slices.Contains(versions, "/api/"+version) {
			return rest.NoSuchVersion(version, served)
		}
	}
	return rest.NoSuchPath(path, served)
}

// wrongMethod answers for the routes that Config.Mount added: those of Config.Routes know their methods.
func wrongMethod(router *mux.Router) rest.Handler {
	return func(_ http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"} {
			other := r.Clone(r.Context())
			other.Method = method
			var match mux.RouteMatch
			if router.Match(other, &match) && match.MatchErr == nil {
				allowed = append(allowed, method)
			}
		}
		return rest.MethodNotAllowed(r.Method, allowed...)
	}
}
