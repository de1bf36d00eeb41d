// The peer: Confluent's Parallel Consumer, which reads records, hands each to a function on a pool of threads, writes what
// it gives, and commits. One JSON object on stdout, as kafka_bench gives.
//
//   ParallelEcho BROKERS IN OUT COUNT GROUP plain|transactional

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class ParallelEcho {
    static double processorSeconds() {
        return ProcessHandle.current().info().totalCpuDuration().map(d -> d.toNanos() * 1e-9).orElse(0.0);
    }

    static long peakKib() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status")))
            if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("[^0-9]", ""));
        return 0;
    }

    public static void main(String[] words) throws Exception {
        String in = words[1], out = words[2];
        long count = Long.parseLong(words[3]);
        boolean transactional = words[5].equals("transactional");

        Properties consumer = new Properties();
        consumer.put("bootstrap.servers", words[0]);
        consumer.put("group.id", words[4]);
        consumer.put("auto.offset.reset", "earliest");
        consumer.put("enable.auto.commit", "false");
        consumer.put("isolation.level", "read_committed");
        Properties producer = new Properties();
        producer.put("bootstrap.servers", words[0]);
        producer.put("enable.idempotence", "true");
        producer.put("linger.ms", "5");
        if (transactional) producer.put("transactional.id", words[4]);

        var options = ParallelConsumerOptions.<byte[], byte[]>builder()
            .ordering(ParallelConsumerOptions.ProcessingOrder.UNORDERED)
            .maxConcurrency(100)
            .commitMode(transactional ? ParallelConsumerOptions.CommitMode.PERIODIC_TRANSACTIONAL_PRODUCER
                                      : ParallelConsumerOptions.CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
            .consumer(new KafkaConsumer<>(consumer, new ByteArrayDeserializer(), new ByteArrayDeserializer()))
            .producer(new KafkaProducer<>(producer, new ByteArraySerializer(), new ByteArraySerializer()))
            .build();
        AtomicLong done = new AtomicLong();
        AtomicLong began = new AtomicLong();
        CountDownLatch end = new CountDownLatch(1);
        double[] cpu = new double[1];
        var processor = ParallelStreamProcessor.createEosStreamProcessor(options);
        processor.subscribe(List.of(in));
        processor.pollAndProduce(context -> {
            if (began.compareAndSet(0, System.nanoTime())) cpu[0] = processorSeconds();
            var record = context.getSingleConsumerRecord();
            return new ProducerRecord<>(out, record.key(), record.value());
        }, result -> {
            if (done.incrementAndGet() == count) end.countDown();
        });
        end.await();
        double seconds = (System.nanoTime() - began.get()) * 1e-9;
        System.out.printf(java.util.Locale.ROOT,
            "{\"records\":%d,\"seconds\":%.4f,\"per_second\":%.0f,\"cpu_seconds\":%.4f,\"peak_rss_kib\":%d}%n",
            done.get(), seconds, done.get() / seconds, processorSeconds() - cpu[0], peakKib());
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
