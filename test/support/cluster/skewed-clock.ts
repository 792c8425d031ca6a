// Loaded into a process of a test host before its own code: its clock is off by so much.
const aheadMs = Number(process.env['WINDLASS_TEST_CLOCK_AHEAD_MS'] ?? 0);
const real = Date.now.bind(Date);
Date.now = () => real() + aheadMs;
