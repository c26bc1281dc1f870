package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestRefusalsOverNATSSpeakOfNoBody: who publishes sends a message, who asks a
// request.
func TestRefusalsOverNATSSpeakOfNoBody(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.runIngest()
	for _, verb := range []string{"create", "get", "list", "cancel", "retry"} {
		answer := w.askMessages(verb, "7")
		w.refusedOverNATS(answer, http.StatusBadRequest, "malformed")
		require.Contains(t, answer.Header.Get("Nats-Service-Error"), "the request must be a JSON object", verb)
	}
	var answer string
	testenv.Eventually(t, func() bool {
		msg, err := w.js.Conn().Request("dispatch.control.configure", []byte("7"), waitTimeout)
		if err == nil {
			answer = msg.Header.Get("Nats-Service-Error")
		}
		return err == nil
	}, "a dispatcher answers")
	require.Equal(t, "the request must be a JSON object, is a number", answer)

	w.publishIntake("dispatch.intake.default", "7")
	w.awaitIntakeEmpty()
	require.Contains(t, w.rejectedMessages()[0].Headers().Get("Dispatch-Problem"), `"detail":"the message must be a JSON object, is a number"`)
}
