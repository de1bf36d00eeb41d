module.exports = {
  rootDir: '.',
  cacheDirectory: '<rootDir>/.cache',
  testMatch: ['<rootDir>/jest/*.test.js'],
  reporters: ['default', ['jest-junit', { outputFile: 'report.xml', reportTestSuiteErrors: 'true' }]],
  collectCoverageFrom: ['shop.js'],
  coverageDirectory: 'coverage',
  coverageReporters: ['lcovonly', 'cobertura', 'text-summary'],
};
