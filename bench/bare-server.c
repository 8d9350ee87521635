/*
 * The yardstick of the bench: what one thread of C needs to answer reads over TCP, and nothing else. No checksums, no log, no protocol beyond the framing: an
 * ICReq is answered by an ICResp, and a 72-byte capsule with a Read by one C2HData PDU (24 bytes and the data) whose SUCCESS flag stands for the completion
 * (NVMe/TCP Transport 1.0). So the load client of the NVMe rows talks to it unchanged, and costs the same.
 *
 *     bare-server FILE     prints `bare-c ready PORT`; data comes by pread, out of the page cache
 *
 * What is no such request, or lies outside the file, ends its connection with a sentence on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	block_bytes = 4096,
	data_bytes_max = 1024 * 1024,
	ic_bytes = 128,
	capsule_bytes = 72,
	data_header_bytes = 24,
	in_bytes = 64 * 1024,
	/* Room for the longest answer, and for many short ones in one write. */
	out_bytes = 2 * data_bytes_max,
	events_max = 64
};

struct connection {
	int fd;
	size_t in_used;
	size_t out_used;
	size_t out_sent;
	int waits_for_room;
	uint8_t in[in_bytes];
	uint8_t out[out_bytes];
};

static int file;
static uint64_t file_bytes;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int index = 0; index < 4; index++) at[index] = value >> (8 * index);
}

static void put_header(uint8_t *at, int type, int flags, int hlen, int pdo, uint32_t plen)
{
	at[0] = type;
	at[1] = flags;
	at[2] = hlen;
	at[3] = pdo;
	put32(at + 4, plen);
}

/* Both return the bytes taken out of the input, 0 when there is no room for the answer, -1 for what is none of the two requests. */

static int answer_init(struct connection *c)
{
	uint8_t *out = c->out + c->out_used;
	if (out_bytes - c->out_used < ic_bytes) return 0;
	memset(out, 0, ic_bytes);
	put_header(out, 1, 0, ic_bytes, 0, ic_bytes);
	put32(out + 12, 128 * 1024);
	c->out_used += ic_bytes;
	return ic_bytes;
}

static int answer_read(struct connection *c, const uint8_t *capsule)
{
	const uint8_t *sqe = capsule + 8;
	uint64_t lba = get32(sqe + 40) | (uint64_t)get32(sqe + 44) << 32;
	uint64_t length = ((uint64_t)(get32(sqe + 48) & 0xffff) + 1) * block_bytes;
	uint8_t *out = c->out + c->out_used;
	if (capsule[0] != 4 || get32(capsule + 4) != capsule_bytes || sqe[0] != 2) return -1;
	if (length > data_bytes_max || lba > file_bytes / block_bytes || lba * block_bytes + length > file_bytes) return -1;
	if (out_bytes - c->out_used < data_header_bytes + length) return 0;
	memset(out, 0, data_header_bytes);
	put_header(out, 7, 0x0c, data_header_bytes, data_header_bytes, data_header_bytes + length);
	out[8] = sqe[2];
	out[9] = sqe[3];
	put32(out + 16, length);
	if (pread(file, out + data_header_bytes, length, lba * block_bytes) != (ssize_t)length) fail("pread");
	c->out_used += data_header_bytes + length;
	return capsule_bytes;
}

/* Answers what has come whole, as far as there is room. Returns 0, or -1 when the connection is to end. */
static int answer(struct connection *c)
{
	size_t at = 0;
	while (c->in_used - at >= 8) {
		const uint8_t *pdu = c->in + at;
		size_t needed = pdu[0] == 0 ? ic_bytes : capsule_bytes;
		if (c->in_used - at < needed) break;
		int taken = pdu[0] == 0 ? answer_init(c) : answer_read(c, pdu);
		if (taken < 0) {
			fprintf(stderr, "not a read of this file: PDU type %d, opcode %d\n", pdu[0], pdu[8]);
			return -1;
		}
		if (taken == 0) break;
		at += taken;
	}
	memmove(c->in, c->in + at, c->in_used - at);
	c->in_used -= at;
	return 0;
}

/* Returns 1 when all is sent, 0 when the socket is full, -1 when it is gone. */
static int send_out(struct connection *c)
{
	while (c->out_sent < c->out_used) {
		ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_used - c->out_sent, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) return 0;
		if (sent < 0) return -1;
		c->out_sent += sent;
	}
	c->out_used = c->out_sent = 0;
	return 1;
}

/* One turn: read once, answer, send once. While the socket is full nothing more is read. Returns -1 when the connection is over. */
static int turn(int epoll, struct connection *c)
{
	int sent = send_out(c);
	if (sent > 0) {
		if (c->in_used < in_bytes) {
			ssize_t received = recv(c->fd, c->in + c->in_used, in_bytes - c->in_used, 0);
			if (received == 0 || (received < 0 && errno != EAGAIN)) return -1;
			if (received > 0) c->in_used += received;
		}
		/* Again, as long as requests were left over for want of room. */
		do {
			if (answer(c) < 0) return -1;
			if (c->out_used == 0) break;
			sent = send_out(c);
		} while (sent > 0);
	}
	if (sent < 0) return -1;
	if (c->waits_for_room != (sent == 0)) {
		c->waits_for_room = sent == 0;
		struct epoll_event event = { .events = c->waits_for_room ? EPOLLOUT : EPOLLIN, .data.ptr = c };
		if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) < 0) fail("epoll_ctl");
	}
	return 0;
}

static void accept_one(int epoll, int listener)
{
	int one = 1;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0) return;
	struct connection *c = calloc(1, sizeof *c);
	if (c == NULL) fail("calloc");
	c->fd = fd;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) fail("TCP_NODELAY");
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void open_file(const char *path)
{
	struct stat status;
	file = open(path, O_RDONLY);
	if (file < 0 || fstat(file, &status) < 0) fail(path);
	file_bytes = status.st_size;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: bare-server FILE\n");
		return 2;
	}
	open_file(argv[1]);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 64) < 0) fail("listen");
	if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) fail("getsockname");
	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll");
	printf("bare-c ready %d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		struct epoll_event events[events_max];
		int count = epoll_wait(epoll, events, events_max, -1);
		if (count < 0 && errno != EINTR) fail("epoll_wait");
		for (int index = 0; index < count; index++) {
			struct connection *c = events[index].data.ptr;
			if (c == NULL) accept_one(epoll, listener);
			else if (turn(epoll, c) < 0) {
				close(c->fd);
				free(c);
			}
		}
	}
}
