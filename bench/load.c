// The load generator: the program on the kernel's side of every live row, the same whatever answers it.
//
//   load MODE ADDRESS PORT CONNECTIONS SECONDS
//
//   send       writes on every connection as fast as it takes it; counts the bytes the other side has acknowledged
//   receive    reads on every connection as fast as it comes
//   rr         one byte there and back on one connection, one at a time; the other connections only stand there
//   udp-rr     the same in datagrams
//   connect    opens, closes and waits for the other side's FIN, CONNECTIONS at a time
//   idle       opens the connections, says so, and holds them until its standard input ends
//   ping       ICMP echo requests, one at a time (PORT is not used)
//
// One line of JSON goes to standard output. What happens in the first WARM seconds is not counted. Congestion control is
// asked for by name, because a machine's default may be one that paces.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WARM 0.3
#define CONGESTION "cubic"
/* Bytes of one read or write. */
#define BLOCK (256 * 1024)
/* Connections of `idle` that are on their way at a time: fewer than any listener's backlog. */
#define ON_THE_WAY 64
/* A datagram that has not come back by then is lost, and the next one goes out. */
#define LOST_AFTER_US 200000
#define MOST_SAMPLES (1 << 22)

static struct sockaddr_in target;
static char block[BLOCK];
static uint32_t *samples;
static size_t sampled;

static void die(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

/* User and system time of this process, in seconds. */
static double busy(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int open_tcp(int nonblocking) {
  int fd = socket(AF_INET, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0) die("socket");
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CONGESTION, strlen(CONGESTION)) < 0) die("TCP_CONGESTION");
  return fd;
}

static int connected_tcp(void) {
  int fd = open_tcp(0);
  if (connect(fd, (struct sockaddr *)&target, sizeof target) < 0) die("connect");
  return fd;
}

static void unblock(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

static void watch(int poll, int fd, uint32_t events, uint32_t mark) {
  struct epoll_event e = {.events = events, .data.u32 = mark};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

/* Keeps a round trip, in nanoseconds. */
static void keep(double seconds) {
  if (sampled < MOST_SAMPLES) samples[sampled++] = (uint32_t)(seconds * 1e9);
}

static double quantile(double q) { return sampled == 0 ? 0 : samples[(size_t)((sampled - 1) * q)] / 1e3; }

static void say_rate(const char *mode, uint64_t count, uint64_t lost, double seconds, double cpu) {
  qsort(samples, sampled, sizeof *samples, by_size);
  printf("{\"mode\":\"%s\",\"count\":%llu,\"lost\":%llu,\"seconds\":%.6f,\"perSecond\":%.3f,\"medianMicros\":%.2f,"
         "\"p99Micros\":%.2f,\"cpuSeconds\":%.4f}\n",
         mode, (unsigned long long)count, (unsigned long long)lost, seconds, count / seconds, quantile(0.5),
         quantile(0.99), cpu);
}

/* ---- bulk */

/* Bytes that wait to be acknowledged. */
static uint64_t unacknowledged(const int *fds, int count) {
  uint64_t bytes = 0;
  for (int i = 0; i < count; i++) {
    int queued = 0;
    if (ioctl(fds[i], SIOCOUTQ, &queued) == 0) bytes += (uint64_t)queued;
  }
  return bytes;
}

static void bulk(int sending, int count, double duration) {
  int *fds = calloc((size_t)count, sizeof *fds);
  uint64_t *each = calloc((size_t)count, sizeof *each);
  int poll = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    fds[i] = connected_tcp();
    unblock(fds[i]);
    watch(poll, fds[i], sending ? EPOLLOUT : EPOLLIN, (uint32_t)i);
  }
  double begin = now(), from = 0, to = 0, cpu = 0;
  uint64_t moved = 0, first = 0, last = 0;
  struct epoll_event ready[64];
  for (;;) {
    double t = now();
    if (from == 0 && t - begin >= WARM) {
      from = t;
      cpu = busy();
      first = moved - (sending ? unacknowledged(fds, count) : 0);
      memset(each, 0, (size_t)count * sizeof *each);
    }
    if (from != 0 && t - from >= duration) {
      to = t;
      last = moved - (sending ? unacknowledged(fds, count) : 0);
      break;
    }
    int n = epoll_wait(poll, ready, 64, 50);
    for (int i = 0; i < n; i++) {
      uint32_t at = ready[i].data.u32;
      ssize_t got = sending ? send(fds[at], block, BLOCK, MSG_NOSIGNAL) : recv(fds[at], block, BLOCK, 0);
      if (got > 0) {
        moved += (uint64_t)got;
        each[at] += (uint64_t)got;
      } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (got == 0) errno = ECONNRESET;
        die(sending ? "send" : "receive");
      }
    }
  }
  uint64_t least = UINT64_MAX, most = 0;
  for (int i = 0; i < count; i++) {
    if (each[i] < least) least = each[i];
    if (each[i] > most) most = each[i];
  }
  printf("{\"mode\":\"%s\",\"bytes\":%llu,\"seconds\":%.6f,\"bitsPerSecond\":%.0f,\"leastShare\":%.3f,\"mostShare\":%.3f,"
         "\"cpuSeconds\":%.4f}\n",
         sending ? "send" : "receive", (unsigned long long)(last - first), to - from,
         (double)(last - first) * 8 / (to - from), moved ? (double)least * count / (double)(last - first) : 0,
         moved ? (double)most * count / (double)(last - first) : 0, busy() - cpu);
  fflush(stdout);
  /* What is queued is of no use: reset, so that the next run starts with a quiet server. */
  struct linger reset = {1, 0};
  for (int i = 0; i < count; i++) {
    setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fds[i]);
  }
}

/* ---- round trips */

static void round_trips(int count, double duration) {
  for (int i = 1; i < count; i++) connected_tcp();
  int fd = connected_tcp();
  double begin = now(), from = 0, cpu = 0, before = now();
  uint64_t done = 0;
  for (;;) {
    if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) die("send");
    if (recv(fd, block, 1, 0) != 1) die("receive");
    double t = now();
    if (from != 0) {
      done++;
      keep(t - before);
      if (t - from >= duration) break;
    } else if (t - begin >= WARM) {
      from = t;
      cpu = busy();
    }
    before = t;
  }
  say_rate("rr", done, 0, now() - from, busy() - cpu);
}

static void datagrams(double duration) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&target, sizeof target) < 0) die("connect");
  struct timeval wait = {0, LOST_AFTER_US};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  double begin = now(), from = 0, cpu = 0, before = now();
  uint64_t done = 0, lost = 0;
  for (;;) {
    if (send(fd, "x", 1, 0) != 1) die("send");
    ssize_t got = recv(fd, block, sizeof block, 0);
    double t = now();
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) die("receive");
      lost++;
    } else if (from != 0) {
      done++;
      keep(t - before);
    }
    if (from == 0 && t - begin >= WARM) {
      from = t;
      cpu = busy();
    }
    if (from != 0 && t - from >= duration) break;
    before = t;
  }
  say_rate("udp-rr", done, lost, now() - from, busy() - cpu);
}

static uint16_t checksum(const void *bytes, size_t length) {
  const uint8_t *at = bytes;
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += (uint32_t)(at[i] << 8 | at[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

static void ping(double duration) {
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (fd < 0) die("socket");
  struct timeval wait = {0, LOST_AFTER_US};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  uint8_t request[64] = {0};
  struct icmphdr *header = (struct icmphdr *)request;
  uint16_t id = (uint16_t)getpid(), sequence = 0;
  double begin = now(), from = 0, cpu = 0;
  uint64_t done = 0, lost = 0;
  for (;;) {
    header->type = ICMP_ECHO;
    header->un.echo.id = id;
    header->un.echo.sequence = htons(++sequence);
    header->checksum = 0;
    header->checksum = checksum(request, sizeof request);
    double before = now();
    if (sendto(fd, request, sizeof request, 0, (struct sockaddr *)&target, sizeof target) < 0) die("sendto");
    int answered = 0;
    while (!answered) {
      ssize_t got = recv(fd, block, sizeof block, 0);
      if (got < 0) break;
      size_t ip = (size_t)(block[0] & 15) * 4;
      struct icmphdr *reply = (struct icmphdr *)(block + ip);
      answered = got >= (ssize_t)(ip + sizeof *reply) && reply->type == ICMP_ECHOREPLY &&
                 reply->un.echo.id == id && reply->un.echo.sequence == htons(sequence);
    }
    double t = now();
    if (!answered) lost++;
    else if (from != 0) {
      done++;
      keep(t - before);
    }
    if (from == 0 && t - begin >= WARM) {
      from = t;
      cpu = busy();
    }
    if (from != 0 && t - from >= duration) break;
  }
  say_rate("ping", done, lost, now() - from, busy() - cpu);
}

/* ---- connections */

static int begin_connect(int poll, uint32_t mark) {
  int fd = open_tcp(1);
  if (connect(fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS) die("connect");
  watch(poll, fd, EPOLLOUT, mark);
  return fd;
}

static void check_connected(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    errno = error;
    die("connect");
  }
}

/* Each place of `count` opens, says FIN, waits for the FIN of the other side, closes, and starts again. */
static void connections(int count, double duration) {
  int *fds = calloc((size_t)count, sizeof *fds);
  double *since = calloc((size_t)count, sizeof *since);
  int *closing = calloc((size_t)count, sizeof *closing);
  int poll = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    since[i] = now();
    fds[i] = begin_connect(poll, (uint32_t)i);
  }
  double begin = now(), from = 0, cpu = 0;
  uint64_t done = 0;
  struct epoll_event ready[64];
  for (;;) {
    double t = now();
    if (from == 0 && t - begin >= WARM) {
      from = t;
      cpu = busy();
      done = 0;
      sampled = 0;
    }
    if (from != 0 && t - from >= duration) break;
    int n = epoll_wait(poll, ready, 64, 50);
    for (int i = 0; i < n; i++) {
      uint32_t at = ready[i].data.u32;
      int fd = fds[at];
      if (!closing[at]) {
        check_connected(fd);
        closing[at] = 1;
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = at};
        epoll_ctl(poll, EPOLL_CTL_MOD, fd, &e);
        shutdown(fd, SHUT_WR);
      } else if (recv(fd, block, sizeof block, 0) == 0) {
        close(fd);
        done++;
        t = now();
        keep(t - since[at]);
        since[at] = t;
        closing[at] = 0;
        fds[at] = begin_connect(poll, at);
      } else if (errno != EAGAIN) {
        die("receive");
      }
    }
  }
  say_rate("connect", done, 0, now() - from, busy() - cpu);
}

static void idle(int count) {
  int poll = epoll_create1(0);
  int *fds = calloc((size_t)count, sizeof *fds);
  double begin = now();
  int started = 0, opened = 0;
  struct epoll_event ready[64];
  while (opened < count) {
    while (started < count && started - opened < ON_THE_WAY) {
      fds[started] = begin_connect(poll, (uint32_t)started);
      started++;
    }
    int n = epoll_wait(poll, ready, 64, 5000);
    if (n == 0) {
      errno = ETIMEDOUT;
      die("connect");
    }
    for (int i = 0; i < n; i++) {
      int fd = fds[ready[i].data.u32];
      check_connected(fd);
      epoll_ctl(poll, EPOLL_CTL_DEL, fd, NULL);
      opened++;
    }
  }
  printf("{\"mode\":\"idle\",\"count\":%d,\"seconds\":%.6f}\n", opened, now() - begin);
  fflush(stdout);
  char c;
  while (read(0, &c, 1) > 0) {
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: load MODE ADDRESS PORT CONNECTIONS SECONDS\n");
    return 2;
  }
  const char *mode = argv[1];
  int count = atoi(argv[4]);
  double duration = atof(argv[5]);
  target.sin_family = AF_INET;
  target.sin_port = htons((uint16_t)atoi(argv[3]));
  if (count < 1 || inet_pton(AF_INET, argv[2], &target.sin_addr) != 1) {
    fprintf(stderr, "load: an address and a number of connections are wanted\n");
    return 2;
  }
  samples = malloc(MOST_SAMPLES * sizeof *samples);
  if (samples == NULL) die("malloc");
  struct rlimit files = {(rlim_t)count + 64, (rlim_t)count + 64}, had;
  getrlimit(RLIMIT_NOFILE, &had);
  if (had.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files) < 0) die("RLIMIT_NOFILE");

  if (strcmp(mode, "send") == 0) bulk(1, count, duration);
  else if (strcmp(mode, "receive") == 0) bulk(0, count, duration);
  else if (strcmp(mode, "rr") == 0) round_trips(count, duration);
  else if (strcmp(mode, "udp-rr") == 0) datagrams(duration);
  else if (strcmp(mode, "connect") == 0) connections(count, duration);
  else if (strcmp(mode, "idle") == 0) idle(count);
  else if (strcmp(mode, "ping") == 0) ping(duration);
  else {
    fprintf(stderr, "load: no mode %s\n", mode);
    return 2;
  }
  return 0;
}
