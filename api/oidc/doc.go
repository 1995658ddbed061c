// Package oidc knows the access tokens of an OpenID Connect authority: JSON Web Tokens (RFC 7519) that one of the
// authority's published keys signed, for this server as the audience, and whose time is not over.
//
// Only signatures with an asymmetric algorithm count, and only with a key of that algorithm's kind, so that neither
// "none" nor a MAC with the public key as its secret is taken for one. The keys are fetched when the first token
// comes, and again when a token names one that is not known, at most once in a while: tokens that name keys of
// nobody must not make us ask the authority each time.
package oidc
