# A shell at a virtio-serial port: reads a script (one line of base64), runs it, answers with its output and `\x1eEXIT-CODE\n`.
exec 3<>"$1"
stty -F "$1" raw 2>/dev/null
while read -r line <&3; do
	script=$(mktemp /tmp/script.XXXXXX)
	printf %s "$line" | base64 -d >"$script"
	bash "$script" >&3 2>&1 </dev/null
	printf '\036%d\n' $? >&3
	rm -f "$script"
done
