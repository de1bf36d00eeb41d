# Where the jars of the broker are. Sourced by start and command.
copy_jars() {
  need mvn
  maven -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
  [ -e "$1/kafka_2.13-4.1.1.jar" ]
}
kafka_jars() { once "kafka-$(sha256sum "$here/pom.xml" | cut -c1-12)" copy_jars; }
