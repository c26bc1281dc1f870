package cli

import (
	"testing"
)

func TestArgumentsAreUTF8(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"send", "+905551111111", "\xfeey"},
		{"send", "+905551111111", "x", "--meta", "a=\xfe"},
		{"list", "--to=\xfe"},
		{"erase", "caf\xe9"},
	} {
		dispatch(t, args...).Fails(t, 2, "is not UTF-8: byte ", "is 0x")
	}
	dispatch(t, "send", "--file", "caf\xe9.csv").Fails(t, 2, "no such file")
	dispatch(t, "send", "+905551111111", "--payload", `"`+"ok"+`"`, "--url", unused).Fails(t, 3)
	dispatchWith(t, "\"\xfe\"", "send", "+905551111111", "--payload", "-").Fails(t, 2, "the payload is not UTF-8: byte 2 is 0xFE")
}
