package message_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceIsCarriedAsItCame(t *testing.T) {
	t.Parallel()
	require.Equal(t, message.Trace{Parent: traceparent}, message.ParseTrace([]string{traceparent}, nil))
	require.Equal(t, message.Trace{Parent: traceparent}, message.ParseTrace([]string{" " + traceparent + "\t"}, nil))
	require.Equal(t, message.Trace{Parent: traceparent, State: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,t/e@n*t_-=a b"},
		message.ParseTrace([]string{traceparent}, []string{"rojo=00f067aa0ba902b7 ,\t congo=t61rcWkgMzE,", "", "t/e@n*t_-=a b"}))
	require.Equal(t, message.Trace{}, message.ParseTrace(nil, []string{"rojo=1"}))
}

func TestAHigherVersionIsReadAsFarAsItIsKnown(t *testing.T) {
	t.Parallel()
	for _, higher := range []string{"cc" + traceparent[2:], "01" + traceparent[2:] + "-what-comes", "fe" + traceparent[2:] + "-"} {
		require.Equal(t, traceparent, message.ParseTrace([]string{higher}, nil).Parent, higher)
	}
}

func TestAnInvalidTraceparentIsNone(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "00", traceparent[:54], traceparent + "-", traceparent + "-00", traceparent + "0",
		"ff" + traceparent[2:], "0x" + traceparent[2:], "01" + traceparent[2:] + "x",
		strings.ToUpper(traceparent), strings.Replace(traceparent, "-", "_", 1), strings.Replace(traceparent, "4bf", "4bg", 1),
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-" + strings.Repeat("0", 16) + "-01",
		traceparent + "," + traceparent,
	} {
		require.Zero(t, message.ParseTrace([]string{bad}, []string{"rojo=1"}), bad)
	}
	require.Zero(t, message.ParseTrace([]string{traceparent, traceparent}, []string{"rojo=1"}))
}

func TestAnInvalidTracestateIsDroppedAlone(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"rojo", "=1", "rojo=", "Rojo=1", "rojo=1=2", "rojo=\x7f", "rojo=1\r\nx: y", "rojo=ü", "_a=1",
		strings.Repeat("k", 257) + "=1", "k=" + strings.Repeat("v", 257), "a=1,b",
	} {
		require.Equal(t, message.Trace{Parent: traceparent}, message.ParseTrace([]string{traceparent}, []string{bad}), bad)
	}
	var members []string
	for n := range 33 {
		members = append(members, fmt.Sprintf("k%d=1", n))
	}
	require.Empty(t, message.ParseTrace([]string{traceparent}, members).State)
	require.Equal(t, strings.Join(members[:32], ","), message.ParseTrace([]string{traceparent}, members[:32]).State)
}

func TestALongTracestateLosesItsOldestMembers(t *testing.T) {
	t.Parallel()
	long := func(key string) string { return key + "=" + strings.Repeat("v", 198) }
	require.Equal(t, long("a")+","+long("b"), message.ParseTrace([]string{traceparent}, []string{long("a"), long("b"), long("c"), "d=1"}).State)
}

func TestATraceIsWrittenAsMembersOfAnObject(t *testing.T) {
	t.Parallel()
	require.Empty(t, message.Trace{}.AppendMembers(nil))
	require.Equal(t, `,"traceparent":"`+traceparent+`"`, string(message.Trace{Parent: traceparent}.AppendMembers(nil)))
	require.Equal(t, `,"traceparent":"`+traceparent+`","tracestate":"a=\"\\<"`, string(message.Trace{Parent: traceparent, State: `a="\<`}.AppendMembers(nil)))
}

func TestNoTraceCostsNothing(t *testing.T) { // not parallel: it counts allocations
	require.Zero(t, testing.AllocsPerRun(100, func() { message.ParseTrace(nil, nil) }))
}
