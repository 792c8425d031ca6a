import assert from 'node:assert/strict';
import { test } from 'node:test';
import { genetlinkAttributes, genetlinkRequest } from '../../../../runtime-shim/host/genetlink.ts';
import { decodeAttributes, encodeAttributes, text, u16, u32 } from '../../../../runtime-shim/host/netlink.ts';
import {
  changeRequests,
  decodeWireguard,
  endpointText,
  isWireguardKey,
  type WireguardPeer,
} from '../../../../runtime-shim/host/wireguard.ts';

const keyOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const makePeer = (byte: number, overrides: Partial<WireguardPeer> = {}): WireguardPeer => ({
  publicKey: keyOf(byte),
  endpoint: { ip: '192.0.2.2', port: 51_820 },
  allowedIp: 'fd00::2',
  ...overrides,
});

test('genetlinkRequest() puts command and version before the attributes', () => {
  const request = genetlinkRequest('find x', { family: 0x10, command: 3, flags: 4 }, [[2, text('x')]]);
  assert.deepEqual([request.type, request.flags, request.body.subarray(0, 4).toString('hex')], [0x10, 4, '03010000']);
  assert.equal(genetlinkAttributes(request).get(2)?.toString(), 'x\0');
});

test('changeRequests() says of a device and its peers what the kernel reads, byte by byte', () => {
  const privateKey = Buffer.alloc(32, 0x77);
  const [request, ...others] = changeRequests(29, 7, {
    ...{ privateKey, listenPort: 51_820, remove: [keyOf(1)], set: [makePeer(2)] },
  });
  assert.equal(others.length, 0);
  const expected = [
    '01010000', // set device, version 1
    '08000100' + '07000000', // index
    '24000300' + '77'.repeat(32), // private key
    '06000600' + '6cca0000', // port, in the order of this machine
    'a4000880', // peers
    '30000080' + ('24000100' + '01'.repeat(32)) + ('08000300' + '01000000'), // one to remove
    '70000080' + ('24000100' + '02'.repeat(32)) + ('08000300' + '02000000'),
    '14000400' + '0200ca6cc0000202' + '00'.repeat(8), // its endpoint, in the order of the wire
    '2c000980' +
      '28000080' +
      ('06000100' + '0a000000') +
      ('14000200' + `fd${'00'.repeat(14)}02`) +
      '05000300' +
      '80000000',
  ].join('');
  assert.equal(request?.body.toString('hex'), expected);
  assert.equal(request?.type, 29);
});

test('changeRequests() knows endpoints of IPv6, and many peers in pieces, the key in the first alone', () => {
  const set = Array.from({ length: 250 }, (_, index) => makePeer(index + 1, { endpoint: { ip: 'fd00::9', port: 1 } }));
  const requests = changeRequests(29, 7, { privateKey: Buffer.alloc(32, 1), remove: [], set });
  const counts = requests.map(({ body }) => {
    const attributes = genetlinkAttributes({ body });
    return [attributes.has(3), (attributes.get(8)?.length ?? 0) % 100];
  });
  assert.deepEqual(
    counts.map(([hasKey]) => hasKey),
    [true, false, false],
  );
  const first = requests[0]?.body.toString('hex') ?? '';
  assert.ok(first.includes(`20000400${'0a00'}${'0001'}${'00000000'}fd${'00'.repeat(14)}09${'00000000'}`));
  assert.ok(requests.every(({ body }) => body.length < 65_536));
});

test('decodeWireguard() reads a device back, and joins a peer that two messages tell of', () => {
  const allowed = (last: number): readonly (readonly [number, Buffer])[] => [
    [1, u16(10)],
    [2, Buffer.concat([Buffer.from('fd', 'hex'), Buffer.alloc(14), Buffer.of(last)])],
    [3, Buffer.of(128)],
  ];
  const endpoint = Buffer.from('0200ca6cc00002020000000000000000', 'hex');
  const peer = (byte: number, last: number, withEndpoint: boolean) =>
    [
      0,
      [
        [1, Buffer.alloc(32, byte)] as const,
        ...(withEndpoint ? [[4, endpoint] as const] : []),
        [9, [[0, allowed(last)] as const]] as const,
      ],
    ] as const;
  const message = (...peers: ReturnType<typeof peer>[]): Map<number, Buffer> =>
    decodeAttributes(
      encodeAttributes([
        [1, u32(7)],
        [4, Buffer.alloc(32, 9)],
        [6, u16(51_820)],
        [8, peers],
      ]),
    );
  assert.deepEqual(decodeWireguard([message(peer(1, 2, true), peer(2, 3, false)), message(peer(2, 4, true))]), {
    publicKey: keyOf(9),
    listenPort: 51_820,
    peers: new Map([
      [keyOf(1), { endpoint: '192.0.2.2:51820', allowedIps: ['fd00::2/128'] }],
      [keyOf(2), { endpoint: '192.0.2.2:51820', allowedIps: ['fd00::3/128', 'fd00::4/128'] }],
    ]),
  });
  assert.deepEqual(decodeWireguard([]), { publicKey: '', listenPort: 0, peers: new Map() });
  assert.equal(endpointText('fd00::1', 5), '[fd00::1]:5');
});

test('isWireguardKey() takes 32 bytes of base64, written the one way, that are not nothing', () => {
  assert.equal(isWireguardKey(keyOf(5)), true);
  const wrong = ['', keyOf(0), keyOf(5).slice(1), `${keyOf(5)}\n`, `${keyOf(255).slice(0, -2)}9=`, 'x'.repeat(44)];
  assert.deepEqual(wrong.filter(isWireguardKey), []);
});
