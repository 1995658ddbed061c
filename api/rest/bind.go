package rest

import (
	"context"
	"encoding"
	"fmt"
	"net/http"
	"reflect"

	"elstore/volume/fault"
)

type boundKey struct{}

// WithBound makes Decode and its like hold requests of ctx to one identity, the only one that the caller may name. It
// is put into the fields that are tagged `caller:"fill"` where the request leaves them out, and whatever else the
// request has there, or in fields tagged `caller:"match"`, is refused with NotAllowed. Without it these tags mean
// nothing.
func WithBound(ctx context.Context, identity string) context.Context {
	return context.WithValue(ctx, boundKey{}, identity)
}

// callerField is a field that says who asks.
type callerField struct {
	key   string
	index []int // from the struct that is decoded
	fill  bool

	required bool // it is never left out: a zero was sent
}

// addCallers notes the fields of a plan that say who asks, those of structs within it too.
func (p *plan) addCallers(sf reflect.StructField, f field) {
	switch sf.Tag.Get("caller") {
	case "fill":
		p.callers = append(p.callers, callerField{f.key, f.index, true, f.required})
	case "match":
		p.callers = append(p.callers, callerField{f.key, f.index, false, f.required})
	case "":
		if sf.Type.Kind() != reflect.Struct || decodesItself(sf.Type) {
			return
		}
		for _, inner := range planOf(sf.Type).callers {
			index := append(append([]int{}, f.index...), inner.index...)
			p.callers = append(p.callers, callerField{f.key + "." + inner.key, index, inner.fill, inner.required})
		}
	default:
		panic(fmt.Sprintf("rest: the tag caller of %s is neither fill nor match", sf.Name))
	}
}

// bind holds v, a struct or a slice of structs that was decoded from r, to the caller's identity, if it has one.
func bind(r *http.Request, v reflect.Value) error {
	identity, bound := r.Context().Value(boundKey{}).(string)
	if !bound {
		return nil
	}
	if v.Kind() != reflect.Slice {
		return bindStruct(identity, v)
	}
	for i := range v.Len() {
		if err := bindStruct(identity, v.Index(i)); err != nil {
			return atIndex(i, err)
		}
	}
	return nil
}

func bindStruct(identity string, v reflect.Value) error {
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, c := range planOf(v.Type()).callers {
		field := v.FieldByIndex(c.index)
		if field.IsZero() && !c.required {
			if !c.fill {
				continue
			}
			if field.Kind() == reflect.Pointer {
				field.Set(reflect.New(field.Type().Elem()))
				field = field.Elem()
			}
			if err := field.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(identity)); err != nil {
				return err
			}
			continue
		}
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if err := match(identity, c.key, field.Interface().(encoding.TextMarshaler)); err != nil {
			return err
		}
	}
	return nil
}

// Match refuses as the tag `caller:"match"` does: for handlers that let some callers name others.
func Match(ctx context.Context, key string, given encoding.TextMarshaler) error {
	identity, bound := ctx.Value(boundKey{}).(string)
	if !bound {
		return nil
	}
	return match(identity, key, given)
}

func match(identity, key string, given encoding.TextMarshaler) error {
	text, err := given.MarshalText()
	if err != nil {
		return err
	}
	if string(text) != identity {
		return fault.Errorf(fault.NotAllowed, "'%s' is %s; you are %s, and may name nobody else there", key, text, identity)
	}
	return nil
}
