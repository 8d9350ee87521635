import test from 'ava';
import { parseCunit, parseCunitList } from './cunit.ts';

const output = `skipping non-LU designator: 2

     CUnit - A unit testing framework for C - Version 2.1-3


Suite: Things
  Test: Simple ...passed
  Test: Other ...    [SKIPPED] THINGS is not implemented.
    [SKIPPED] THINGS is not implemented.
passed
  Test: Third ...    [FAILED] THINGS successful but should have failed
FAILED
    1. test_things.c:51  - CU_ASSERT_EQUAL(_r,0)
    2. test_things.c:52  - CU_ASSERT_EQUAL(_r,0)
  Test: Fourth ...    something with a word
passed

Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
`;

test('each test has its result: passed, skipped with its reason once, failed with its assertions', (t) => {
	t.deepEqual(parseCunit(output), [
		{ suite: 'Things', test: 'Simple', outcome: 'passed', words: [] },
		{ suite: 'Things', test: 'Other', outcome: 'skipped', words: ['THINGS is not implemented.'] },
		{
			suite: 'Things',
			test: 'Third',
			outcome: 'failed',
			words: ['1. test_things.c:51  - CU_ASSERT_EQUAL(_r,0)', '2. test_things.c:52  - CU_ASSERT_EQUAL(_r,0)'],
		},
		{ suite: 'Things', test: 'Fourth', outcome: 'passed', words: [] },
	]);
});

test('a skip that fails has failed', (t) => {
	const [result] = parseCunit('Suite: S\n  Test: A ...    [SKIPPED] no X.\nFAILED\n    1. a.c:1  - CU_FAIL("x")\n');
	t.is(result?.outcome, 'failed');
	t.deepEqual(result?.words, ['1. a.c:1  - CU_FAIL("x")']);
});

test('a program that ends in the middle of a test: that one has failed', (t) => {
	const results = parseCunit('Suite: S\n  Test: A ...passed\n  Test: B ...    [SKIPPED] no X.\n');
	t.deepEqual(
		results.map(({ outcome }) => outcome),
		['passed', 'failed'],
	);
});

test('a list: the tests of each suite of one family', (t) => {
	const suites = parseCunitList('ALL\nALL.A\nALL.A.One\nALL.A.Two-X\nALL.B\nALL.B.One\nSCSI.A\nSCSI.A.One\n', 'ALL');
	t.deepEqual(
		[...suites],
		[
			['A', ['One', 'Two-X']],
			['B', ['One']],
		],
	);
});
