export STRIPE_WEBHOOK_SECRET='SECRET_TEXT'
BODY='{"id":"evt_1","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","object":"payment_intent","amount":2000,"currency":"usd"}}}'
TIME=$(date +%s)
MAC=$(printf '%s' "$TIME.$BODY" | openssl dgst -sha256 -hmac "$STRIPE_WEBHOOK_SECRET" -r | cut -d' ' -f1)
curl -i http://ADDRESS/webhook -H "Stripe-Signature: t=$TIME,v1=$MAC" --data-binary "$BODY"
