// tap.c: the only C of tapstack. It opens a Linux TAP (or TUN) device, moves frames in batches between it and memory that
// JavaScript owns, tells the event loop when there is something to do, and sets up the kernel's side of the device.
//
//   JavaScript                              here                                   kernel
//   read(id, slab, at, most, rows)    ->    readv until EAGAIN, `most`, or no room   <- /dev/net/tun
//   transmit(id, words, count)        ->    one writev per frame, from where it lies  ->
//   on event(bits)                    <-    uv_poll: one call per wake
//
// Rules kept here: no offset, length or token from JavaScript is used before it was checked against the memory that it
// means, and that memory is looked up again in every call (an ArrayBuffer may be detached or collected in between). No
// global state: everything hangs off the instance of one environment, so worker threads each have their own.
//
// Only node_api.h up to version 8 and libuv 1.x: one binary serves Node 20 and later.

#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>
#include <uv.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

// Newer than some distributions' headers; the kernel answers EINVAL when it does not know them.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

// The largest frame a read may bring: a 64 KB IP packet with Ethernet and two VLAN tags. A shorter buffer would cut the
// frame without a word, so a read is never tried with less room. A frame that fills all of it was cut, and is dropped.
#define MAX_FRAME (65536 + 64)

// Bits of `open`'s flags. addon.ts has the same list.
#define OPEN_TUN 1
#define OPEN_OFFLOAD 2
#define OPEN_VERIFY 4
#define OPEN_PERSIST 8

// Bits of an event.
#define EVENT_READABLE 1
#define EVENT_WRITABLE 2
#define EVENT_GONE 4

// A received frame: offset, length, flags, gsoSize. Row 0 is the answer's own: word 0 counts frames that were cut.
#define RX_STRIDE 4
#define RX_TRUSTED 1 // the transport checksum needs no check

// A frame to send. Row 0 is the answer's own: word 0 counts frames the kernel refused, word 1 has the last errno.
#define TX_STRIDE 16
enum {
  TX_HEAD_TOKEN, TX_HEAD_OFFSET, TX_HEAD_LENGTH,
  TX_A_TOKEN, TX_A_OFFSET, TX_A_LENGTH,
  TX_B_TOKEN, TX_B_OFFSET, TX_B_LENGTH,
  TX_GSO_TYPE, TX_GSO_SIZE, TX_CSUM_START, TX_CSUM_OFFSET
};

typedef struct Instance Instance;

// One open device.
typedef struct {
  Instance *instance;
  int fd;      // the device's queue
  int control; // a socket of the device's namespace, for SIOC ioctls
  int route;   // the same, for rtnetlink
  int index;
  bool vnet;   // each frame carries a virtio_net_hdr
  bool verify; // check transport checksums on receive
  bool gone;   // the interface was deleted under us
  uv_poll_t *poll;
  uv_idle_t *idle;
  int want;    // events the poll handle is started with
  uint64_t busy;      // nanoseconds to keep polling after a frame
  uint64_t busyUntil;
  int handles; // uv handles not yet closed
  napi_ref callback;
  napi_async_context context;
} Tap;

// A block of memory JavaScript made known. The reference is weak: the token dies with its Uint8Array.
typedef struct {
  napi_ref ref;
  uint8_t *data;   // valid only while `serial` is that of the running call
  size_t length;
  uint64_t serial;
  int nextFree;
} Slot;

struct Instance {
  napi_env env;
  Tap **taps; // by id; ids are never used twice
  int tapCount;
  Slot *slots; // by token
  int slotCount;
  int freeSlot;
  uint64_t serial; // of the running transmit: 64 bits never come round
  int handles; // uv handles of all taps not yet closed
  bool finalized;
  napi_async_cleanup_hook_handle leaving;
};

// ---------------------------------------------------------------- arguments and errors

static napi_value throw_errno(napi_env env, int error, const char *syscall) {
  char message[160];
  napi_value text, code, number, call, object;
  snprintf(message, sizeof message, "%s: %s", syscall, strerror(error));
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text);
  napi_create_string_utf8(env, uv_err_name(-error), NAPI_AUTO_LENGTH, &code);
  napi_create_int32(env, -error, &number);
  napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &call);
  napi_create_error(env, code, text, &object);
  napi_set_named_property(env, object, "errno", number);
  napi_set_named_property(env, object, "syscall", call);
  napi_throw(env, object);
  return NULL;
}

static napi_value throw_range(napi_env env, const char *message) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return NULL;
}

static napi_value make_int(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

static void set_int(napi_env env, napi_value object, const char *name, int64_t value) {
  napi_set_named_property(env, object, name, make_int(env, value));
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, object, name, value);
}

// Fetches the instance and exactly `count` arguments; throws and returns NULL when there are fewer.
static Instance *enter(napi_env env, napi_callback_info info, size_t count, napi_value *args) {
  size_t given = count;
  void *instance = NULL;
  napi_get_cb_info(env, info, &given, args, NULL, &instance);
  if (given < count) {
    napi_throw_type_error(env, "ERR_MISSING_ARGS", "too few arguments");
    return NULL;
  }
  return instance;
}

static bool get_int(napi_env env, napi_value value, int32_t *result) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok && number >= INT32_MIN && number <= INT32_MAX) {
    *result = (int32_t)number;
    if (*result == number) return true;
  }
  throw_range(env, "not a 32-bit integer");
  return false;
}

// Copies a string argument; one that does not fit is refused, never cut.
static bool get_text(napi_env env, napi_value value, char *into, size_t size) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "not a string");
    return false;
  }
  if (length >= size) {
    throw_range(env, "string too long");
    return false;
  }
  napi_get_value_string_utf8(env, value, into, size, &length);
  if (strlen(into) == length) return true;
  throw_range(env, "string has a NUL");
  return false;
}

static bool get_array(napi_env env, napi_value value, napi_typedarray_type type, void **data, size_t *length) {
  bool is = false;
  napi_typedarray_type found;
  if (napi_is_typedarray(env, value, &is) == napi_ok && is &&
      napi_get_typedarray_info(env, value, &found, length, data, NULL, NULL) == napi_ok && found == type) {
    if (*data == NULL) *length = 0; // detached
    return true;
  }
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE",
                        type == napi_uint8_array ? "not a Uint8Array" : "not an Int32Array");
  return false;
}

static Tap *get_tap(napi_env env, Instance *instance, napi_value value) {
  int32_t id;
  if (!get_int(env, value, &id)) return NULL;
  if (id < 0 || id >= instance->tapCount || instance->taps[id] == NULL) {
    throw_range(env, "no such open device");
    return NULL;
  }
  return instance->taps[id];
}

// ---------------------------------------------------------------- the Internet checksum (RFC 1071)

// Sums native-endian 16-bit words: byte order does not matter to a one's complement sum as long as the result is stored
// the way the words were loaded (RFC 1071 2 (B)). Eight independent lanes, so that the compiler can use vectors.
static uint64_t sum_words(const uint8_t *bytes, size_t length) {
  uint64_t lane[8] = {0};
  while (length >= 32) {
    uint32_t word[8];
    memcpy(word, bytes, 32);
    for (int i = 0; i < 8; i++) lane[i] += word[i];
    bytes += 32;
    length -= 32;
  }
  uint64_t sum = lane[0] + lane[1] + lane[2] + lane[3] + lane[4] + lane[5] + lane[6] + lane[7];
  while (length >= 2) {
    uint16_t word;
    memcpy(&word, bytes, 2);
    sum += word;
    bytes += 2;
    length -= 2;
  }
  if (length == 1) { // the odd byte is the first of a word whose second is zero
    uint16_t word = 0;
    memcpy(&word, bytes, 1);
    sum += word;
  }
  return sum;
}

static uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

// Adds a range that begins at an odd place of the message: its bytes sit in the other halves of the words.
static uint64_t sum_range(uint64_t sum, const uint8_t *bytes, size_t length, size_t before) {
  uint16_t part = fold(sum_words(bytes, length));
  return sum + (before & 1 ? (uint16_t)(part << 8 | part >> 8) : part);
}

static uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

// True when `frame` is a whole, unfragmented TCP or UDP packet right behind IPv4 or IPv6 whose checksum is right. Everything
// else is left for the stack to judge: this only spares it the sum, as a network card does.
static bool checksum_right(const uint8_t *frame, size_t length) {
  size_t at = 14;
  if (length < at) return false;
  uint16_t type = read16(frame + 12);
  if (type == ETH_P_8021Q && length >= 18) {
    type = read16(frame + 16);
    at = 18;
  }
  const uint8_t *ip = frame + at;
  size_t have = length - at, size;
  uint64_t sum;
  uint8_t protocol;
  if (type == ETH_P_IP) {
    if (have < 20 || ip[0] >> 4 != 4) return false;
    size_t header = (size_t)(ip[0] & 15) * 4, total = read16(ip + 2);
    if (header < 20 || total < header || total > have) return false;
    if ((read16(ip + 6) & 0x3fff) != 0) return false; // a fragment
    protocol = ip[9];
    sum = sum_words(ip + 12, 8);
    size = total - header;
    ip += header;
  } else if (type == ETH_P_IPV6) {
    if (have < 40 || ip[0] >> 4 != 6) return false;
    size = read16(ip + 4);
    if (size > have - 40) return false;
    protocol = ip[6];
    sum = sum_words(ip + 8, 32);
    ip += 40;
  } else {
    return false;
  }
  if (protocol == IPPROTO_UDP) {
    // A sum of zero means "none" and a length that differs from IP's is the stack's to judge.
    if (size < 8 || read16(ip + 4) != size || (ip[6] | ip[7]) == 0) return false;
  } else if (protocol != IPPROTO_TCP || size < 20) {
    return false;
  }
  sum += htons(protocol) + (uint64_t)htons((uint16_t)size);
  return fold(sum + sum_words(ip, size)) == 0xffff;
}

// ---------------------------------------------------------------- memory JavaScript made known

static napi_value attach(napi_env env, napi_callback_info info) {
  napi_value args[1];
  Instance *instance = enter(env, info, 1, args);
  void *data;
  size_t length;
  if (instance == NULL || !get_array(env, args[0], napi_uint8_array, &data, &length)) return NULL;
  if (instance->freeSlot < 0) {
    int count = instance->slotCount == 0 ? 64 : instance->slotCount * 2;
    Slot *slots = realloc(instance->slots, sizeof *slots * (size_t)count);
    if (slots == NULL) return throw_errno(env, ENOMEM, "attach");
    for (int i = instance->slotCount; i < count; i++) {
      slots[i] = (Slot){.nextFree = i + 1 < count ? i + 1 : -1};
    }
    instance->freeSlot = instance->slotCount;
    instance->slots = slots;
    instance->slotCount = count;
  }
  int token = instance->freeSlot;
  Slot *slot = &instance->slots[token];
  if (napi_create_reference(env, args[0], 0, &slot->ref) != napi_ok) return throw_errno(env, ENOMEM, "attach");
  instance->freeSlot = slot->nextFree;
  slot->serial = instance->serial - 1;
  return make_int(env, token);
}

static napi_value detach(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int32_t token;
  Instance *instance = enter(env, info, 1, args);
  if (instance == NULL || !get_int(env, args[0], &token)) return NULL;
  if (token < 0 || token >= instance->slotCount || instance->slots[token].ref == NULL) {
    return throw_range(env, "no such token");
  }
  Slot *slot = &instance->slots[token];
  napi_delete_reference(env, slot->ref);
  slot->ref = NULL;
  slot->nextFree = instance->freeSlot;
  instance->freeSlot = token;
  return NULL;
}

// The bytes of a range, or NULL when it is not wholly inside living memory. Looks the memory up once per call and slot.
static uint8_t *resolve(Instance *instance, int32_t token, int32_t offset, int32_t length) {
  if (token < 0 || token >= instance->slotCount || offset < 0 || length < 0) return NULL;
  Slot *slot = &instance->slots[token];
  if (slot->ref == NULL) return NULL;
  if (slot->serial != instance->serial) {
    napi_value array = NULL;
    void *data = NULL;
    slot->length = 0;
    if (napi_get_reference_value(instance->env, slot->ref, &array) != napi_ok || array == NULL) return NULL;
    if (napi_get_typedarray_info(instance->env, array, NULL, &slot->length, &data, NULL, NULL) != napi_ok) return NULL;
    if (data == NULL) slot->length = 0; // detached
    slot->data = data;
    slot->serial = instance->serial;
  }
  if ((size_t)offset > slot->length || (size_t)length > slot->length - (size_t)offset) return NULL;
  return slot->data + offset;
}

// ---------------------------------------------------------------- readiness

static void tell(Tap *tap, int events) {
  napi_env env = tap->instance->env;
  napi_handle_scope scope;
  napi_value callback, global, bits, thrown;
  if (tap->callback == NULL || napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_get_reference_value(env, tap->callback, &callback);
  napi_get_global(env, &global);
  napi_create_int32(env, events, &bits);
  if (napi_make_callback(env, tap->context, global, callback, 1, &bits, NULL) == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
    napi_fatal_exception(env, thrown); // becomes 'uncaughtException'
  }
  napi_close_handle_scope(env, scope);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(Tap *tap, int want) {
  if (tap->gone) want = 0;
  if (tap->want == want) return;
  tap->want = want;
  if (want == 0) {
    uv_poll_stop(tap->poll);
  } else {
    uv_poll_start(tap->poll, want, on_poll);
  }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  Tap *tap = poll->data;
  if (status < 0) { // the interface was deleted: POLLERR for ever after
    tap->gone = true;
    watch(tap, 0);
    tell(tap, EVENT_GONE);
    return;
  }
  if (events & UV_WRITABLE) watch(tap, tap->want & ~UV_WRITABLE);
  tell(tap, (events & UV_READABLE ? EVENT_READABLE : 0) | (events & UV_WRITABLE ? EVENT_WRITABLE : 0));
}

// An active idle handle makes libuv ask epoll without waiting: a busy-poll that leaves every other handle its turn.
static void on_idle(uv_idle_t *idle) {
  Tap *tap = idle->data;
  if (uv_hrtime() >= tap->busyUntil) uv_idle_stop(idle);
}

// ---------------------------------------------------------------- opening and closing

static void maybe_free(Instance *instance) {
  if (instance->handles > 0) return;
  if (instance->leaving != NULL) {
    napi_remove_async_cleanup_hook(instance->leaving);
    instance->leaving = NULL;
  }
  if (instance->finalized) {
    free(instance->taps);
    free(instance->slots);
    free(instance);
  }
}

static void on_closed(uv_handle_t *handle) {
  Tap *tap = handle->data;
  Instance *instance = tap->instance;
  free(handle);
  if (--tap->handles == 0) free(tap);
  instance->handles--;
  maybe_free(instance);
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

// Lets go of everything; the memory itself goes when libuv has let go of the handles.
static void shut(Tap *tap) {
  napi_env env = tap->instance->env;
  if (tap->callback != NULL) napi_delete_reference(env, tap->callback);
  if (tap->context != NULL) napi_async_destroy(env, tap->context);
  tap->callback = NULL;
  tap->context = NULL;
  if (tap->idle != NULL) uv_close((uv_handle_t *)tap->idle, on_closed);
  if (tap->poll != NULL) uv_close((uv_handle_t *)tap->poll, on_closed);
  close_fd(&tap->fd); // uv_close has taken it out of epoll already
  close_fd(&tap->control);
  close_fd(&tap->route);
  if (tap->handles == 0) free(tap);
}

// What a failed step is called, and why it failed.
typedef struct {
  const char *step;
  int error;
} Failure;

static Failure fail(const char *step) { return (Failure){step, errno}; }
static const Failure FINE = {NULL, 0};

// Asks for the most and goes down in steps: USO needs Linux 6.2, and some container runtimes know only checksums.
static Failure ask_offload(Tap *tap, bool offload, unsigned *granted) {
  static const unsigned steps[] = {
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
      TUN_F_CSUM | TUN_F_TSO4,
      TUN_F_CSUM,
      0,
  };
  // A persistent device keeps what its last user set, so zero is asked for too.
  for (size_t i = offload ? 0 : sizeof steps / sizeof *steps - 1; i < sizeof steps / sizeof *steps; i++) {
    if (ioctl(tap->fd, TUNSETOFFLOAD, (unsigned long)steps[i]) == 0) {
      *granted = steps[i];
      return FINE;
    }
  }
  return fail("TUNSETOFFLOAD");
}

// Runs inside the device's namespace: the queue and both sockets belong for ever to the namespace they are made in.
static Failure open_here(Tap *tap, const char *path, char *name, int flags, int owner, unsigned *granted) {
  struct ifreq ifr = {0};
  tap->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap->fd < 0) return fail("open");
  tap->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (tap->control < 0) return fail("socket");
  tap->route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (tap->route < 0) return fail("netlink");
  struct timeval patience = {.tv_sec = 2}; // rtnetlink answers at once; never hang the event loop
  setsockopt(tap->route, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

  memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
  tap->vnet = (flags & OPEN_OFFLOAD) != 0;
  ifr.ifr_flags = (short)((flags & OPEN_TUN ? IFF_TUN : IFF_TAP) | IFF_NO_PI | (tap->vnet ? IFF_VNET_HDR : 0));
  if (ioctl(tap->fd, TUNSETIFF, &ifr) < 0) {
    // A persistent device made with `multi_queue` wants the flag repeated; one queue of it is all we take.
    ifr.ifr_flags |= IFF_MULTI_QUEUE;
    if (errno != EINVAL || ioctl(tap->fd, TUNSETIFF, &ifr) < 0) return fail("TUNSETIFF");
  }
  memcpy(name, ifr.ifr_name, IFNAMSIZ);
  name[IFNAMSIZ - 1] = 0;
  if (tap->vnet) {
    int size = sizeof(struct virtio_net_hdr); // a persistent device may remember another
    if (ioctl(tap->fd, TUNSETVNETHDRSZ, &size) < 0) return fail("TUNSETVNETHDRSZ");
  }
  Failure failure = ask_offload(tap, tap->vnet, granted);
  if (failure.step != NULL) return failure;
  if (owner >= 0 && ioctl(tap->fd, TUNSETOWNER, (unsigned long)owner) < 0) return fail("TUNSETOWNER");
  if (flags & OPEN_PERSIST && ioctl(tap->fd, TUNSETPERSIST, 1UL) < 0) return fail("TUNSETPERSIST");
  if (ioctl(tap->control, SIOCGIFINDEX, &ifr) < 0) return fail("SIOCGIFINDEX");
  tap->index = ifr.ifr_ifindex;
  return FINE;
}

// Enters `netns`, opens there, and comes back whatever happened in between.
static Failure open_in(const char *netns, Tap *tap, const char *path, char *name, int flags, int owner,
                       unsigned *granted) {
  if (netns[0] == 0) return open_here(tap, path, name, flags, owner, granted);
  // Of this thread: a worker may live in another namespace than the process's first thread.
  int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) return fail("netns self");
  int there = open(netns, O_RDONLY | O_CLOEXEC);
  if (there < 0) {
    Failure failure = fail("netns");
    close(home);
    return failure;
  }
  struct stat a, b;
  bool same = fstat(home, &a) == 0 && fstat(there, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
  Failure failure = FINE;
  if (!same && setns(there, CLONE_NEWNET) < 0) failure = fail("setns");
  if (failure.step == NULL) {
    failure = open_here(tap, path, name, flags, owner, granted);
    if (!same && setns(home, CLONE_NEWNET) < 0) failure = fail("setns back");
  }
  close(there);
  close(home);
  return failure;
}

static bool start_handles(napi_env env, Tap *tap) {
  Instance *instance = tap->instance;
  uv_loop_t *loop;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return false;
  // Sizes are asked for, not compiled in: the headers may be of another libuv 1.x than the one that runs.
  uv_poll_t *poll = calloc(1, uv_handle_size(UV_POLL));
  uv_idle_t *idle = calloc(1, uv_handle_size(UV_IDLE));
  if (poll == NULL || idle == NULL || uv_poll_init(loop, poll, tap->fd) != 0) {
    free(poll);
    free(idle);
    return false;
  }
  uv_idle_init(loop, idle);
  poll->data = idle->data = tap;
  tap->poll = poll;
  tap->idle = idle;
  tap->handles = 2;
  instance->handles += 2;
  return true;
}

// open(path, name, netns, flags, owner, callback) -> { id, name, index, offload }
static napi_value open_tap(napi_env env, napi_callback_info info) {
  napi_value args[6], result, label;
  char path[256], name[IFNAMSIZ], netns[256];
  int32_t flags, owner;
  unsigned granted = 0;
  napi_valuetype type;
  Instance *instance = enter(env, info, 6, args);
  if (instance == NULL || !get_text(env, args[0], path, sizeof path) || !get_text(env, args[1], name, sizeof name) ||
      !get_text(env, args[2], netns, sizeof netns) || !get_int(env, args[3], &flags) || !get_int(env, args[4], &owner))
    return NULL;
  if (napi_typeof(env, args[5], &type) != napi_ok || type != napi_function) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "not a function");
    return NULL;
  }
  Tap **taps = realloc(instance->taps, sizeof *taps * (size_t)(instance->tapCount + 1));
  if (taps == NULL) return throw_errno(env, ENOMEM, "open");
  instance->taps = taps;
  Tap *tap = calloc(1, sizeof *tap);
  if (tap == NULL) return throw_errno(env, ENOMEM, "open");
  tap->instance = instance;
  tap->fd = tap->control = tap->route = -1;
  tap->verify = (flags & OPEN_VERIFY) != 0 && (flags & OPEN_TUN) == 0;

  Failure failure = open_in(netns, tap, path, name, flags, owner, &granted);
  if (failure.step == NULL && !start_handles(env, tap)) failure = (Failure){"uv_poll", ENOMEM};
  if (failure.step == NULL) {
    napi_create_string_utf8(env, "TAP", NAPI_AUTO_LENGTH, &label);
    if (napi_create_reference(env, args[5], 1, &tap->callback) != napi_ok ||
        napi_async_init(env, NULL, label, &tap->context) != napi_ok)
      failure = (Failure){"open", ENOMEM};
  }
  if (failure.step != NULL) {
    shut(tap);
    return throw_errno(env, failure.error, failure.step);
  }
  int id = instance->tapCount++;
  instance->taps[id] = tap;
  napi_create_object(env, &result);
  set_int(env, result, "id", id);
  set_text(env, result, "name", name);
  set_int(env, result, "index", tap->index);
  set_int(env, result, "offload", granted);
  return result;
}

// close(id): twice is harmless.
static napi_value close_tap(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int32_t id;
  Instance *instance = enter(env, info, 1, args);
  if (instance == NULL || !get_int(env, args[0], &id)) return NULL;
  if (id < 0 || id >= instance->tapCount || instance->taps[id] == NULL) return NULL;
  Tap *tap = instance->taps[id];
  instance->taps[id] = NULL;
  shut(tap);
  return NULL;
}

// poll(id, reading): whether frames that wait are told of.
static napi_value poll_tap(napi_env env, napi_callback_info info) {
  napi_value args[2];
  bool on = false;
  Instance *instance = enter(env, info, 2, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL) return NULL;
  napi_get_value_bool(env, args[1], &on);
  watch(tap, on ? tap->want | UV_READABLE : tap->want & ~UV_READABLE);
  return NULL;
}

// hold(id, on): whether an open device keeps the process running.
static napi_value hold_tap(napi_env env, napi_callback_info info) {
  napi_value args[2];
  bool on = false;
  Instance *instance = enter(env, info, 2, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL) return NULL;
  napi_get_value_bool(env, args[1], &on);
  if (on) {
    uv_ref((uv_handle_t *)tap->poll);
    uv_ref((uv_handle_t *)tap->idle);
  } else {
    uv_unref((uv_handle_t *)tap->poll);
    uv_unref((uv_handle_t *)tap->idle);
  }
  return NULL;
}

// busyPoll(id, microseconds): keep asking for so long after a frame came in; 0 is off.
static napi_value busy_poll(napi_env env, napi_callback_info info) {
  napi_value args[2];
  int32_t micros;
  Instance *instance = enter(env, info, 2, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL || !get_int(env, args[1], &micros)) return NULL;
  if (micros < 0) return throw_range(env, "busyPoll is negative");
  tap->busy = (uint64_t)micros * 1000;
  if (micros == 0) uv_idle_stop(tap->idle);
  return NULL;
}

// ---------------------------------------------------------------- frames in

// read(id, slab, offset, most, rows) -> frames read, or -errno when the device is gone.
// Frames lie back to back from `offset`; fewer than `most` with room left means that nothing waits any more.
static napi_value read_frames(napi_env env, napi_callback_info info) {
  napi_value args[5];
  void *slab, *table;
  size_t size, words;
  int32_t at, most;
  Instance *instance = enter(env, info, 5, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL || !get_array(env, args[1], napi_uint8_array, &slab, &size) || !get_int(env, args[2], &at) ||
      !get_int(env, args[3], &most) || !get_array(env, args[4], napi_int32_array, &table, &words))
    return NULL;
  if (at < 0 || (size_t)at > size) return throw_range(env, "offset outside the slab");
  if (most < 0 || words / RX_STRIDE < (size_t)most + 1) return throw_range(env, "more frames than rows");

  struct virtio_net_hdr header = {0};
  struct iovec iov[2] = {{&header, sizeof header}, {NULL, MAX_FRAME}};
  const size_t extra = tap->vnet ? sizeof header : 0;
  uint8_t *to = (uint8_t *)slab + at, *end = (uint8_t *)slab + size;
  int32_t *answer = table, *row = answer + RX_STRIDE;
  int32_t count = 0;
  answer[0] = 0;
  while (count < most && end - to >= MAX_FRAME) {
    iov[1].iov_base = to;
    ssize_t got = tap->vnet ? readv(tap->fd, iov, 2) : read(tap->fd, to, MAX_FRAME);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      if (count > 0) break; // hand over what came; the next call meets the error again
      return make_int(env, -errno);
    }
    if ((size_t)got <= extra || (size_t)got - extra >= MAX_FRAME) { // cut: see MAX_FRAME
      answer[0]++;
      continue;
    }
    size_t length = (size_t)got - extra;
    bool trusted = tap->vnet && (header.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID));
    bool gso = tap->vnet && header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    if (!trusted && !gso && tap->verify) trusted = checksum_right(to, length);
    row[0] = (int32_t)(to - (uint8_t *)slab);
    row[1] = (int32_t)length;
    row[2] = trusted ? RX_TRUSTED : 0;
    row[3] = gso ? header.gso_size : 0;
    row += RX_STRIDE;
    to += length;
    count++;
  }
  if (count > 0 && tap->busy > 0) {
    tap->busyUntil = uv_hrtime() + tap->busy;
    if (!uv_is_active((uv_handle_t *)tap->idle)) uv_idle_start(tap->idle, on_idle);
  }
  return make_int(env, count);
}

// ---------------------------------------------------------------- frames out

// One frame taken apart: where its bytes lie and what is to be done to it.
typedef struct {
  struct virtio_net_hdr header;
  struct iovec iov[4]; // the virtio header, the head, two ranges
  int parts;           // of iov, the virtio header included
  int start;           // of the checksummed part in the head, -1 when there is nothing to complete
  int field;           // of the checksum in the head
} Outgoing;

static bool add_range(Instance *instance, Outgoing *out, const int32_t *row) {
  if (row[2] == 0) return true;
  uint8_t *bytes = resolve(instance, row[0], row[1], row[2]);
  if (bytes == NULL) return false;
  out->iov[out->parts++] = (struct iovec){bytes, (size_t)row[2]};
  return true;
}

// Reads one row; on a row that makes no sense returns what is wrong with it.
static const char *read_row(Tap *tap, const int32_t *row, Outgoing *out) {
  const int32_t head = row[TX_HEAD_LENGTH], type = row[TX_GSO_TYPE], size = row[TX_GSO_SIZE];
  const int32_t start = row[TX_CSUM_START], offset = row[TX_CSUM_OFFSET];
  out->parts = 1;
  out->start = -1;
  if (head <= 0 || !add_range(tap->instance, out, row + TX_HEAD_TOKEN)) return "head outside its slab";
  if (!add_range(tap->instance, out, row + TX_A_TOKEN)) return "range a outside its slab";
  if (!add_range(tap->instance, out, row + TX_B_TOKEN)) return "range b outside its slab";
  memset(&out->header, 0, sizeof out->header);
  if (start != -1) {
    if (start < 0 || start > UINT16_MAX || offset < 0 || offset > head || start > head - offset - 2)
      return "checksum field outside the head";
    out->start = start;
    out->field = start + offset;
    out->header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    out->header.csum_start = (uint16_t)start;
    out->header.csum_offset = (uint16_t)offset;
  }
  if (type == VIRTIO_NET_HDR_GSO_NONE) return NULL;
  const int plain = type & ~VIRTIO_NET_HDR_GSO_ECN;
  if (plain != VIRTIO_NET_HDR_GSO_TCPV4 && plain != VIRTIO_NET_HDR_GSO_TCPV6 && plain != VIRTIO_NET_HDR_GSO_UDP_L4)
    return "unknown segmentation";
  if (!tap->vnet || size <= 0 || size > UINT16_MAX || start == -1) return "segmentation without offload, size or checksum";
  out->header.gso_type = (uint8_t)type;
  out->header.gso_size = (uint16_t)size;
  out->header.hdr_len = (uint16_t)(head < UINT16_MAX ? head : UINT16_MAX);
  return NULL;
}

// Does in software what a device with checksum offload does: sums [start, end of frame) over the pseudo-header sum already
// in the field. Returns the old field, so that the caller's frame is left as it was found.
static uint16_t complete_checksum(Outgoing *out) {
  uint8_t *head = out->iov[1].iov_base;
  uint16_t before, sum;
  size_t covered = out->iov[1].iov_len - (size_t)out->start;
  uint64_t total = sum_words(head + out->start, covered);
  for (int i = 2; i < out->parts; i++) {
    total = sum_range(total, out->iov[i].iov_base, out->iov[i].iov_len, covered);
    covered += out->iov[i].iov_len;
  }
  memcpy(&before, head + out->field, 2);
  sum = (uint16_t)~fold(total);
  // UDP: a computed zero is sent as all ones, for zero means that there is no checksum (RFC 768). It is right for TCP too.
  if (sum == 0) sum = 0xffff;
  memcpy(head + out->field, &sum, 2);
  return before;
}

static int write_frame(Tap *tap, Outgoing *out) {
  const bool complete = !tap->vnet && out->start >= 0;
  const uint16_t before = complete ? complete_checksum(out) : 0;
  ssize_t wrote;
  out->iov[0] = (struct iovec){&out->header, sizeof out->header};
  do {
    wrote = tap->vnet ? writev(tap->fd, out->iov, out->parts) : writev(tap->fd, out->iov + 1, out->parts - 1);
  } while (wrote < 0 && errno == EINTR);
  int error = wrote < 0 ? errno : 0; // a frame goes whole or not at all: there is no partial write
  if (complete) memcpy((uint8_t *)out->iov[1].iov_base + out->field, &before, 2);
  return error;
}

// transmit(id, words, count) -> frames taken. Fewer than count: the device is full, down or gone; an event will follow.
static napi_value transmit(napi_env env, napi_callback_info info) {
  napi_value args[3];
  void *table;
  size_t words;
  int32_t count;
  Instance *instance = enter(env, info, 3, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL || !get_array(env, args[1], napi_int32_array, &table, &words) || !get_int(env, args[2], &count))
    return NULL;
  if (count < 0 || words / TX_STRIDE < (size_t)count + 1) return throw_range(env, "more frames than rows");
  instance->serial++;
  int32_t *answer = table, taken = 0;
  answer[0] = answer[1] = 0;
  for (; taken < count; taken++) {
    Outgoing out;
    const char *wrong = read_row(tap, answer + TX_STRIDE * (taken + 1), &out);
    if (wrong != NULL) return throw_range(env, wrong);
    int error = write_frame(tap, &out);
    if (error == 0) continue;
    answer[1] = error;
    if (error == EBADFD || error == ENODEV || error == ENXIO) break; // deleted: POLLERR tells of it
    if (error == EAGAIN || error == EIO) { // full, or the interface is down: POLLOUT comes when it is up again
      watch(tap, tap->want | UV_WRITABLE);
      break;
    }
    answer[0]++; // the kernel refuses this frame (EINVAL, ENOBUFS, …): skip it, as a wire loses one
  }
  return make_int(env, taken);
}

// ---------------------------------------------------------------- the kernel's side

// By index, since an interface can be renamed while it is open.
static bool name_of(Tap *tap, struct ifreq *ifr) {
  memset(ifr, 0, sizeof *ifr);
  ifr->ifr_ifindex = tap->index;
  return ioctl(tap->control, SIOCGIFNAME, ifr) == 0;
}

// link(id) -> { name, index, mtu, flags, mac }
static napi_value get_link(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  struct ifreq ifr;
  char mac[18];
  Instance *instance = enter(env, info, 1, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL) return NULL;
  if (!name_of(tap, &ifr)) return throw_errno(env, errno, "SIOCGIFNAME");
  napi_create_object(env, &result);
  set_text(env, result, "name", ifr.ifr_name);
  set_int(env, result, "index", tap->index);
  if (ioctl(tap->control, SIOCGIFMTU, &ifr) < 0) return throw_errno(env, errno, "SIOCGIFMTU");
  set_int(env, result, "mtu", ifr.ifr_mtu);
  if (ioctl(tap->control, SIOCGIFFLAGS, &ifr) < 0) return throw_errno(env, errno, "SIOCGIFFLAGS");
  set_int(env, result, "flags", (unsigned short)ifr.ifr_flags);
  if (ioctl(tap->control, SIOCGIFHWADDR, &ifr) < 0) return throw_errno(env, errno, "SIOCGIFHWADDR");
  const uint8_t *m = (const uint8_t *)ifr.ifr_hwaddr.sa_data;
  snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  set_text(env, result, "mac", mac);
  return result;
}

// Sets a number of the interface. The kernel reads MTU and queue length from the same place of the union.
static napi_value set_number(napi_env env, napi_callback_info info, unsigned long request, const char *syscall) {
  napi_value args[2];
  int32_t number;
  struct ifreq ifr;
  Instance *instance = enter(env, info, 2, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL || !get_int(env, args[1], &number)) return NULL;
  if (!name_of(tap, &ifr)) return throw_errno(env, errno, "SIOCGIFNAME");
  ifr.ifr_ifru.ifru_ivalue = number;
  if (ioctl(tap->control, request, &ifr) < 0) return throw_errno(env, errno, syscall);
  return NULL;
}

// setMtu(id, bytes)
static napi_value set_mtu(napi_env env, napi_callback_info info) {
  return set_number(env, info, SIOCSIFMTU, "SIOCSIFMTU");
}

// setQueue(id, frames): how many frames wait for us before the kernel drops
static napi_value set_queue(napi_env env, napi_callback_info info) {
  return set_number(env, info, SIOCSIFTXQLEN, "SIOCSIFTXQLEN");
}

// setMac(id, six bytes)
static napi_value set_mac(napi_env env, napi_callback_info info) {
  napi_value args[2];
  void *mac;
  size_t length;
  struct ifreq ifr;
  Instance *instance = enter(env, info, 2, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL || !get_array(env, args[1], napi_uint8_array, &mac, &length)) return NULL;
  if (length != ETH_ALEN) return throw_range(env, "a link address has six bytes");
  if (!name_of(tap, &ifr)) return throw_errno(env, errno, "SIOCGIFNAME");
  if (ioctl(tap->control, SIOCGIFHWADDR, &ifr) < 0) return throw_errno(env, errno, "SIOCGIFHWADDR");
  memcpy(ifr.ifr_hwaddr.sa_data, mac, ETH_ALEN);
  if (ioctl(tap->control, SIOCSIFHWADDR, &ifr) < 0) return throw_errno(env, errno, "SIOCSIFHWADDR");
  return NULL;
}

// setUp(id, up)
static napi_value set_up(napi_env env, napi_callback_info info) {
  napi_value args[2];
  bool up = false;
  struct ifreq ifr;
  Instance *instance = enter(env, info, 2, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL) return NULL;
  napi_get_value_bool(env, args[1], &up);
  if (!name_of(tap, &ifr)) return throw_errno(env, errno, "SIOCGIFNAME");
  if (ioctl(tap->control, SIOCGIFFLAGS, &ifr) < 0) return throw_errno(env, errno, "SIOCGIFFLAGS");
  ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
  if (ioctl(tap->control, SIOCSIFFLAGS, &ifr) < 0) return throw_errno(env, errno, "SIOCSIFFLAGS");
  return NULL;
}

// An RTM_NEWADDR or RTM_DELADDR, laid out as rtnetlink(7) has it.
typedef struct {
  struct nlmsghdr header;
  struct ifaddrmsg body;
  uint8_t attributes[64];
} AddressMessage;

static void put_attribute(AddressMessage *message, unsigned short type, const void *data, size_t length) {
  struct rtattr *attribute = (struct rtattr *)((uint8_t *)message + NLMSG_ALIGN(message->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(length);
  memcpy(RTA_DATA(attribute), data, length);
  message->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
}

// Sends a request that asks for an acknowledgement and returns its error number.
static int ask_route(int route, struct nlmsghdr *request) {
  union {
    struct nlmsghdr header;
    uint8_t bytes[4096];
  } reply;
  if (send(route, request, request->nlmsg_len, 0) < 0) return errno;
  for (;;) {
    ssize_t length = recv(route, &reply, sizeof reply, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return errno;
    if (!NLMSG_OK(&reply.header, (size_t)length)) return EPROTO;
    if (reply.header.nlmsg_type != NLMSG_ERROR || reply.header.nlmsg_seq != request->nlmsg_seq) continue;
    return -((struct nlmsgerr *)NLMSG_DATA(&reply.header))->error;
  }
}

// changeAddress(id, add, address, prefixLength)
static napi_value change_address(napi_env env, napi_callback_info info) {
  static uint32_t sequence;
  napi_value args[4];
  bool add = false;
  char text[INET6_ADDRSTRLEN];
  int32_t prefix;
  uint8_t bytes[16];
  Instance *instance = enter(env, info, 4, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL || !get_text(env, args[2], text, sizeof text) || !get_int(env, args[3], &prefix)) return NULL;
  napi_get_value_bool(env, args[1], &add);
  const int family = inet_pton(AF_INET, text, bytes) == 1    ? AF_INET
                     : inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6
                                                             : AF_UNSPEC;
  const size_t length = family == AF_INET ? 4 : 16;
  if (family == AF_UNSPEC || prefix < 0 || prefix > (int32_t)length * 8) return throw_range(env, "not an address");
  AddressMessage message = {
      .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
                 .nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR,
                 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0)),
                 .nlmsg_seq = __atomic_add_fetch(&sequence, 1, __ATOMIC_RELAXED)},
      // Duplicate address detection would keep an IPv6 address unusable for almost two seconds, on a link with two ends.
      .body = {.ifa_family = (uint8_t)family,
               .ifa_prefixlen = (uint8_t)prefix,
               .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
               .ifa_index = (uint32_t)tap->index},
  };
  put_attribute(&message, IFA_LOCAL, bytes, length);
  put_attribute(&message, IFA_ADDRESS, bytes, length);
  int error = ask_route(tap->route, &message.header);
  return error == 0 ? NULL : throw_errno(env, error, add ? "RTM_NEWADDR" : "RTM_DELADDR");
}

// Appends the address of one RTM_NEWADDR to `list`, if it is this device's.
static void list_address(napi_env env, Tap *tap, struct nlmsghdr *message, napi_value list, uint32_t *count) {
  struct ifaddrmsg *body = NLMSG_DATA(message);
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof *body) || body->ifa_index != (uint32_t)tap->index) return;
  const void *bytes = NULL;
  const size_t size = body->ifa_family == AF_INET ? 4 : 16;
  int left = (int)IFA_PAYLOAD(message);
  for (struct rtattr *a = IFA_RTA(body); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (RTA_PAYLOAD(a) < size) continue;
    // IFA_ADDRESS is the peer's on a point-to-point link, where IFA_LOCAL says ours.
    if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && bytes == NULL)) bytes = RTA_DATA(a);
  }
  char text[INET6_ADDRSTRLEN], line[INET6_ADDRSTRLEN + 4];
  if (bytes == NULL || inet_ntop(body->ifa_family, bytes, text, sizeof text) == NULL) return;
  napi_value value;
  snprintf(line, sizeof line, "%s/%u", text, body->ifa_prefixlen);
  napi_create_string_utf8(env, line, NAPI_AUTO_LENGTH, &value);
  napi_set_element(env, list, (*count)++, value);
}

// addresses(id) -> ['10.7.0.1/24', 'fe80::1/64']
static napi_value get_addresses(napi_env env, napi_callback_info info) {
  napi_value args[1], list;
  uint32_t count = 0;
  struct {
    struct nlmsghdr header;
    struct ifaddrmsg body;
  } request = {.header = {.nlmsg_len = sizeof request,
                          .nlmsg_type = RTM_GETADDR,
                          .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                          .nlmsg_seq = 0x7fffffff}};
  union {
    struct nlmsghdr header;
    uint8_t bytes[32768];
  } reply;
  Instance *instance = enter(env, info, 1, args);
  Tap *tap = instance == NULL ? NULL : get_tap(env, instance, args[0]);
  if (tap == NULL) return NULL;
  napi_create_array(env, &list);
  if (send(tap->route, &request, sizeof request, 0) < 0) return throw_errno(env, errno, "RTM_GETADDR");
  for (;;) {
    ssize_t length = recv(tap->route, &reply, sizeof reply, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return throw_errno(env, errno, "RTM_GETADDR");
    size_t left = (size_t)length;
    for (struct nlmsghdr *m = &reply.header; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_seq != request.header.nlmsg_seq) continue;
      if (m->nlmsg_type == NLMSG_DONE) return list;
      if (m->nlmsg_type == NLMSG_ERROR) {
        return throw_errno(env, -((struct nlmsgerr *)NLMSG_DATA(m))->error, "RTM_GETADDR");
      }
      if (m->nlmsg_type == RTM_NEWADDR) list_address(env, tap, m, list, &count);
    }
  }
}

// ---------------------------------------------------------------- the module

// The environment ends (process exit, worker terminated): close what is open, and hold it up until libuv is done.
static void on_leaving(napi_async_cleanup_hook_handle hook, void *data) {
  Instance *instance = data;
  instance->leaving = hook;
  for (int i = 0; i < instance->tapCount; i++) {
    Tap *tap = instance->taps[i];
    instance->taps[i] = NULL;
    if (tap != NULL) shut(tap);
  }
  maybe_free(instance);
}

static void on_finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  Instance *instance = data;
  instance->finalized = true;
  maybe_free(instance);
}

NAPI_MODULE_INIT() {
  Instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return NULL;
  instance->env = env;
  instance->freeSlot = -1;
  napi_set_instance_data(env, instance, on_finalize, NULL);
  napi_add_async_cleanup_hook(env, on_leaving, instance, NULL);
  static const struct {
    const char *name;
    napi_callback call;
  } table[] = {
      {"open", open_tap},         {"close", close_tap},         {"poll", poll_tap},
      {"hold", hold_tap},         {"busyPoll", busy_poll},      {"attach", attach},
      {"detach", detach},         {"read", read_frames},        {"transmit", transmit},
      {"link", get_link},         {"setMtu", set_mtu},          {"setMac", set_mac},
      {"setUp", set_up},          {"addresses", get_addresses}, {"changeAddress", change_address},
      {"setQueue", set_queue},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    napi_value function;
    napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, instance, &function);
    napi_set_named_property(env, exports, table[i].name, function);
  }
  return exports;
}
