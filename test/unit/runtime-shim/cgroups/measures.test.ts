import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHugepages } from '../../../../runtime-shim/cgroups/hugepages.ts';
import { parseBlkio, parseIoStat, parsePressure } from '../../../../runtime-shim/cgroups/measures.ts';
import { readMeasuresV1 } from '../../../../runtime-shim/cgroups/measures-v1.ts';
import { readMeasuresV2 } from '../../../../runtime-shim/cgroups/measures-v2.ts';
import { sharesOfWeight, weightOfShares } from '../../../../runtime-shim/cgroups/resources.ts';

const lines = (...texts: string[]): string => `${texts.join('\n')}\n`;

test('readMeasuresV1() reads every number from its controller', () => {
  const files: Record<string, string> = {
    'cpuacct/cpuacct.usage': '7000000000\n',
    'cpuacct/cpuacct.stat': lines('user 500', 'system 200'),
    'cpu/cpu.stat': lines('nr_periods 10', 'nr_throttled 4', 'throttled_time 3000000000'),
    'cpu/cpu.cfs_quota_us': '20000\n',
    'cpu/cpu.cfs_period_us': '100000\n',
    'cpu/cpu.shares': '512\n',
    'memory/memory.usage_in_bytes': '1000\n',
    'memory/memory.max_usage_in_bytes': '1500\n',
    'memory/memory.stat': lines(
      ...['total_inactive_file 300', 'total_rss 400', 'total_cache 350', 'total_mapped_file 60', 'total_swap 5'],
      ...['pgfault 9', 'total_pgfault 11', 'pgmajfault 1', 'total_pgmajfault 2'],
    ),
    'memory/memory.kmem.usage_in_bytes': '77\n',
    'memory/memory.failcnt': '3\n',
    'memory/memory.oom_control': lines('oom_kill_disable 0', 'under_oom 0', 'oom_kill 2'),
    'memory/memory.limit_in_bytes': '2000\n',
    'memory/memory.soft_limit_in_bytes': '9223372036854771712\n',
    'memory/memory.memsw.limit_in_bytes': '3000\n',
    'pids/pids.current': '6\n',
    'pids/pids.max': 'max\n',
    'hugetlb/hugetlb.2MB.usage_in_bytes': '2097152\n',
    'hugetlb/hugetlb.2MB.max_usage_in_bytes': '4194304\n',
    'blkio/blkio.throttle.io_service_bytes_recursive': lines('254:0 Read 10', '254:0 Write 20', 'Total 30'),
    'blkio/blkio.throttle.io_serviced_recursive': lines('254:0 Read 1', '254:0 Write 2', 'Total 3'),
  };
  assert.deepEqual(
    readMeasuresV1((controller, file) => files[`${controller}/${file}`], ['2MB', '1GB']),
    {
      cpu: {
        ...{ usageNs: 7e9, userNs: 5e9, systemNs: 2e9 },
        ...{ periods: 10, throttledPeriods: 4, throttledNs: 3e9 },
      },
      memory: {
        ...{ usageBytes: 1000, maxUsageBytes: 1500, workingSetBytes: 700, rssBytes: 400, cacheBytes: 350 },
        ...{ mappedFileBytes: 60, kernelBytes: 77, swapBytes: 5, limitHits: 3, oomKills: 2 },
        ...{ pageFaults: [9, 11], majorPageFaults: [1, 2] },
      },
      threads: 6,
      hugepages: [{ pageSize: '2MB', usageBytes: 2097152, maxUsageBytes: 4194304 }],
      io: [{ major: 254, minor: 0, readBytes: 10, writtenBytes: 20, reads: 1, writes: 2 }],
      pressure: undefined,
      limits: {
        ...{ cpuPeriodUs: 100_000, cpuQuotaUs: 20_000, cpuShares: 512, memoryBytes: 2000 },
        ...{ memoryReservationBytes: undefined, memorySwapBytes: 3000, threads: undefined },
      },
    },
  );
  assert.equal(
    readMeasuresV1(() => undefined, []),
    undefined,
  );
});

test('readMeasuresV2() reads the same from one group, with pressure', () => {
  const pressure = lines('some avg10=1.50 avg60=0.10 avg300=0.00 total=2500000', 'full avg10=0.25 avg60=0 total=9');
  const files: Record<string, string> = {
    'cpu.stat': lines(
      ...['usage_usec 7000000', 'user_usec 5000000', 'system_usec 2000000'],
      ...['nr_periods 10', 'nr_throttled 4', 'throttled_usec 3000000'],
    ),
    'cpu.max': 'max 100000\n',
    'cpu.weight': '20\n',
    'memory.current': '1000\n',
    'memory.stat': lines(
      'inactive_file 300',
      'anon 400',
      'file 350',
      'file_mapped 60',
      'kernel 77',
      'pgfault 11',
      'pgmajfault 2',
    ),
    'memory.events': lines('low 0', 'max 3', 'oom 1', 'oom_kill 2'),
    'memory.max': '2000\n',
    'memory.swap.max': '500\n',
    'memory.swap.current': '5\n',
    'memory.low': '0\n',
    'pids.current': '6\n',
    'pids.max': '100\n',
    'io.stat': '254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n',
    ...{ 'cpu.pressure': pressure, 'memory.pressure': pressure, 'io.pressure': pressure },
  };
  const measures = readMeasuresV2((file) => files[file], ['2MB']);
  assert.deepEqual(measures?.cpu, {
    ...{ usageNs: 7e9, userNs: 5e9, systemNs: 2e9 },
    ...{ periods: 10, throttledPeriods: 4, throttledNs: 3e9 },
  });
  assert.deepEqual(measures.memory.pageFaults, [11, 11]);
  assert.deepEqual(measures.io, [{ major: 254, minor: 0, readBytes: 10, writtenBytes: 20, reads: 1, writes: 2 }]);
  assert.deepEqual(measures.limits, {
    ...{ cpuPeriodUs: 100_000, cpuQuotaUs: undefined, cpuShares: sharesOfWeight(20), memoryBytes: 2000 },
    ...{ memoryReservationBytes: undefined, memorySwapBytes: 2500, threads: 100 },
  });
  assert.deepEqual(measures.pressure?.memory, {
    some: { totalUs: 2_500_000, avg10: 1.5, avg60: 0.1, avg300: 0 },
    full: { totalUs: 9, avg10: 0.25, avg60: 0, avg300: 0 },
  });
  assert.deepEqual(measures.hugepages, []);
});

test('parsers of missing files find nothing', () => {
  assert.deepEqual(
    [parsePressure(undefined), parseIoStat(undefined), parseBlkio(undefined, 'Total 0\n')],
    [undefined, [], []],
  );
});

test('sharesOfWeight() is the way back from weightOfShares()', () => {
  for (const shares of [2, 262_144]) assert.equal(sharesOfWeight(weightOfShares(shares)), shares);
  assert.equal(weightOfShares(sharesOfWeight(39)), 39);
});

test('checkHugepages() drops what changes nothing and names what cannot be', () => {
  const zero = { pageSize: '2MB', limit: 0 };
  const some = { pageSize: '2MB', limit: 4_194_304 };
  assert.deepEqual(checkHugepages([zero], new Set()), []);
  assert.deepEqual(checkHugepages([zero, some], new Set(['2MB'])), [zero, some]);
  assert.throws(() => checkHugepages([some], new Set()), { reason: 'Invalid', message: /2MB.*no hugetlb controller/ });
  assert.throws(() => checkHugepages([some], new Set(['1GB'])), {
    reason: 'Invalid',
    message: /no pages of that size/,
  });
  assert.throws(() => checkHugepages([{ pageSize: '../x', limit: 1 }], new Set()), { reason: 'Invalid' });
});
